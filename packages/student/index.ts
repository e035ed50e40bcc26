export type { Files } from './archive.ts';
export { type BagHyperparameters, bagDefaults } from './bag/hyperparameters.ts';
export { type Bundle, bundleFiles, openBundle, writeBundle } from './bundle.ts';
export type { CheckpointStore, EpochResult } from './checkpoint.ts';
export { type Description, headsOf, type Lineage } from './description.ts';
export {
  BundleError,
  type BundleErrorCode,
  CheckpointError,
  TokenizerError,
  TrainingError,
  type TrainingErrorCode,
} from './errors.ts';
export { estimate } from './estimate.ts';
export type { Example } from './examples.ts';
export {
  type Candidate,
  type EncoderSource,
  type ExportedStudent,
  FAMILIES,
  type Family,
  type StudentTraining,
  type TrainingReport,
} from './family.ts';
export { labelHead } from './heads/layout.ts';
export type { Prediction } from './heads/read.ts';
export type { HeadTarget } from './heads/targets.ts';
export { STUDENT_VERSION } from './key.ts';
export {
  type Decision,
  decide,
  type Policy,
  PolicySchema,
  parsePolicy,
  policyDigest,
  policyJson,
  probabilitiesOf,
} from './policy.ts';
export { readTrusted, reportStatement, studentStatement, type Trusted } from './statements.ts';
export { StudentModel } from './student-model.ts';
export { trainStudent } from './train-student.ts';
