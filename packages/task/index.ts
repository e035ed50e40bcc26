export { type AnswerErrorReason, answerParser, type ParsedAnswer } from './answer.ts';
export {
  type CallObstacle,
  type ChatCall,
  insideFrame,
  readCall,
  type TemplateFrame,
  templateFrame,
  workloadId,
  workloadsOfTask,
} from './call.ts';
export { canonicalJson, sha256Hex } from './canonical.ts';
export {
  type CompiledTask,
  compileTask,
  pairId,
  type RenderedPrompt,
  type TeacherModel,
  taskDigest,
  taskJson,
  whatShapesItsAnswers,
} from './compile.ts';
export {
  type AuditPolicy,
  auditPolicyOf,
  type DeploymentPolicy,
  deploymentPolicyOf,
  forgetPolicyOf,
  isAuditable,
  policyFault,
  withEpoch,
} from './deployment-policy.ts';
export { InputError, type InputErrorReason, TaskError, type TaskIssue } from './errors.ts';
export type { CanonicalInput } from './input.ts';
export { MAX_INPUT_BYTES, MAX_TASK_BYTES } from './limits.ts';
export { loadTask } from './load.ts';
export { type LogFault, type LoggedPair, readLogged } from './log.ts';
export { ASK_ORIGIN, originOf, TRAFFIC_ORIGIN } from './origin.ts';
export {
  type Agreement,
  type ChoiceHead,
  type Encoded,
  type EncodeFault,
  type Head,
  type HeadValue,
  LEFT_OUT,
  LEFT_TO_TEACHER,
  type NumberHead,
  type OutputPlan,
  PRESENT,
  type SpanHead,
  type TagsHead,
} from './output/head.ts';
export { outputPlan } from './output/plan.ts';
export { type OutputJsonSchema, plainSchema } from './output/schema.ts';
export { type IdKey, idKeyName, promptIdBytes, promptIdOf, promptIdsOf } from './prompt-id.ts';
export { type Example, type Source, type Task, TaskSchema, type Teacher, type TeacherKind } from './schema.ts';
export { parseTask } from './validate.ts';
