export { differentiate } from './differentiate.ts';
export { dropoutMask, hostMask, type MaskSpec } from './dropout.ts';
export { cast, ints, reduceSum, reshape, scalarLike, slice, zerosOf } from './emit.ts';
export { ENGINES, type Engine, type EngineOptions, openTraining, type Training } from './engines/engine.ts';
export {
  type Choice,
  choosePlace,
  DEVICE_WISHES,
  ENGINE_WISHES,
  type Finding,
  findPlaces,
  type Place,
  type Wish,
} from './engines/find.ts';
export { DivergedError, GraphError, NoGradientError } from './errors.ts';
export { type Attributes, Graph, type GraphNode, type Value } from './graph.ts';
export type { Parameter } from './import/parameters.ts';
export { type ImportedModel, type ImportOptions, importModel } from './import.ts';
export { type ModelRequirements, requirementsOf } from './inspect.ts';
export {
  attention,
  attentionParameters,
  type Dropout,
  dropout,
  type EncoderShape,
  embeddingParameters,
  embedTokens,
  encoderLayer,
  encoderLayerParameters,
  gelu,
  keyMask,
  type LayerParameter,
  layerNorm,
  layerNormParameters,
  linear,
  linearParameters,
  meanPool,
  type Parameters,
  type Start,
} from './layers.ts';
export { binaryCrossEntropy, huber, type SpanEnd, softCrossEntropy, spanCrossEntropy } from './loss.ts';
export type { AdamWOptions } from './optimizer.ts';
export { quantizeWeights } from './quantize.ts';
export { learningRateAt, type Schedule } from './schedule.ts';
export { OPSET_VERSION, serialize } from './serialize.ts';
export {
  checkDevice,
  DEVICES,
  type Device,
  openSession,
  RUNTIME_VERSION,
  type SessionOptions,
  toRuntime,
} from './session.ts';
export type { Dim, Shape } from './shape.ts';
export { type Bindings, splice } from './splice.ts';
export { type ElementType, elementCount, scalar, type TensorValue, tensor, vectorOf, zeros } from './tensor.ts';
export { initialState, TrainingSession, type TrainingState } from './training-session.ts';
export {
  type Clock,
  type MaskSource,
  type ParameterSpec,
  STATE_PARTS,
  stateInput,
  type TrainingDefinition,
  trainingStep,
  type UsedRows,
} from './training-step.ts';
