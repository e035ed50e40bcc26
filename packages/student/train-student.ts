import { bagDefaults } from './bag/hyperparameters.ts';
import { openBag } from './bag/learner.ts';
import { openEncoder } from './encoder/learner.ts';
import { checkExamples } from './examples.ts';
import { exportStudent, type TrainedCandidate } from './export-student.ts';
import type { ExportedStudent, StudentTraining } from './family.ts';
import { layoutOf } from './heads/layout.ts';
import { isPlain } from './heads/targets.ts';
import { trainingKey } from './key.ts';
import { type Learner, settingsOf } from './learner.ts';
import { convArchitecture, convDefaults } from './sequence/conv.ts';
import { openSequences } from './sequence/learner.ts';
import { transformerArchitecture, transformerDefaults } from './sequence/transformer.ts';
import { runTraining } from './training.ts';

async function openLearner(training: StudentTraining): Promise<Learner> {
  const options = { ...training, layout: layoutOf(training.heads) };
  const { candidate, layout, train } = options;
  const given = candidate.hyperparameters;
  switch (candidate.family) {
    case 'bag':
      return openBag(options, settingsOf(bagDefaults(layout.textWidth, train.length, !isPlain(layout)), given));
    case 'conv': {
      const settings = settingsOf(convDefaults(train.length), given);
      return openSequences(options, settings, convArchitecture(settings));
    }
    case 'transformer': {
      const settings = settingsOf(transformerDefaults(train.length), given);
      return openSequences(options, settings, transformerArchitecture(settings));
    }
    case 'encoder':
      return openEncoder(options);
  }
}

/**
 * Trains one candidate: the epoch that agrees best with the teacher on dev.
 * @throws as `trainStudent` does.
 */
export async function trainCandidate(options: StudentTraining): Promise<TrainedCandidate> {
  checkExamples(options.train, options.dev, options.heads);
  const learner = await openLearner(options);
  const trained = await runTraining(options, learner, trainingKey(options, learner));
  return { settings: learner.settings, trained, finished: learner.finish(trained.parameters) };
}

/**
 * Trains and exports one candidate. The same examples, candidate, seed, threads, runtime build and machine give the same
 * bundle byte for byte, also when the training was killed and went on from a checkpoint. Occupies its thread for the
 * length of each step: run it in a process of its own.
 * @throws TrainingError when these examples or this candidate cannot give a student; the signal's reason when it aborts.
 */
export async function trainStudent(options: StudentTraining): Promise<ExportedStudent> {
  return exportStudent(options, await trainCandidate(options));
}
