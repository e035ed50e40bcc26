/** The only way to ONNX Runtime: what has to be set before it is loaded is set here. */
import './no-telemetry.ts';

export { env, InferenceSession, Tensor } from 'onnxruntime-node';
