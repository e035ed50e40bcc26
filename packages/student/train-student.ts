import { exportBag } from './bag/export.ts';
import { bagDefaults } from './bag/hyperparameters.ts';
import { trainBag } from './bag/train.ts';
import { TrainingError } from './errors.ts';
import type { Candidate, ExportedStudent, StudentTraining } from './family.ts';

/** Trains and exports one candidate: the bundle's archive, its digest and its description. */
export async function trainStudent(options: StudentTraining): Promise<ExportedStudent> {
  const { candidate, field, lineage, train, dev } = options;
  if (candidate.family !== 'bag') {
    throw new TrainingError('unsupported', `this version trains no "${candidate.family}" students`);
  }
  const trained = await trainBag({ ...options, hyperparameters: candidate.hyperparameters });
  return exportBag({ trained, field, train, dev, lineage });
}

/** What a candidate is likely to cost before it is trained: megabytes of its bundle with int8 weights. */
export function estimate(candidate: Candidate, labels: number): { readonly megabytes: number } {
  const { rows, width } = { ...bagDefaults(labels, 1), ...candidate.hyperparameters };
  return { megabytes: (rows * width + 4 * labels * width) / 1e6 };
}
