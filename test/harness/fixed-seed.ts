/** Property tests draw the same cases in every run, so that a failure comes with the change that made it; FC_SEED draws others. */
import { configureGlobal } from 'fast-check';

configureGlobal({ seed: Number(process.env.FC_SEED ?? 20_261_123) });
