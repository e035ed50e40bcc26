import { runService } from '@understudy/service/lifecycle';
import { definition } from './service.ts';

await runService(definition);
