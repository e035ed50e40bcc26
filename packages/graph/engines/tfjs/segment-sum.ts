import * as tf from '@tensorflow/tfjs-core';

/**
 * Sums of x's rows by the segment that each belongs to, in one pass. The kernel of tfjs's JavaScript backend compares all
 * rows with each segment in turn: for the gradient of an embedding of 1,000 rows it takes a thousand passes, which made a
 * step of a small transformer take 18 s.
 * Rows of a negative segment are dropped, as in TensorFlow.
 */
const segmentSum: tf.KernelFunc = ({ inputs, attrs, backend }) => {
  const { x, segmentIds } = inputs as { x: tf.TensorInfo; segmentIds: tf.TensorInfo };
  const { numSegments } = attrs as unknown as tf.UnsortedSegmentSumAttrs;
  const cpu = backend as tf.KernelBackend;
  const values = cpu.readSync(x.dataId) as Float32Array;
  const segments = cpu.readSync(segmentIds.dataId) as Int32Array;
  const size = values.length / segments.length;
  const sums = x.dtype === 'int32' ? new Int32Array(numSegments * size) : new Float32Array(numSegments * size);
  for (let row = 0; row < segments.length; row++) {
    const segment = segments[row] as number;
    if (segment < 0) continue;
    for (let i = 0; i < size; i++) {
      sums[segment * size + i] = (sums[segment * size + i] as number) + (values[row * size + i] as number);
    }
  }
  const shape = [numSegments, ...x.shape.slice(segmentIds.shape.length)];
  return { dataId: cpu.write(sums, shape, x.dtype), shape, dtype: x.dtype };
};

/** Puts the sum in one pass in the place of the JavaScript backend's own. */
export function replaceSegmentSum(): void {
  tf.unregisterKernel(tf.UnsortedSegmentSum, 'cpu');
  tf.registerKernel({ kernelName: tf.UnsortedSegmentSum, backendName: 'cpu', kernelFunc: segmentSum });
}
