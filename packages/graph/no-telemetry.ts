/**
 * ONNX Runtime 1.30 for Linux reports its use to its makers over the network, unless this is set before it is loaded.
 * Whoever wants that sets the variable to 0.
 */
process.env.ORT_DISABLE_TELEMETRY ??= '1';
