/** Largest magnitude of a symmetric int8 number. */
const INT8_MAX = 127;

/**
 * Symmetric int8 with one scale for each column: value ≈ integer × scale. The scale of a column can be left out of the
 * sum over rows, so that the sum is exact in integers.
 */
export function quantizeColumns(table: Float32Array, width: number): { integers: Int8Array; scales: Float32Array } {
  const largest = new Float32Array(width);
  for (let i = 0; i < table.length; i++) {
    largest[i % width] = Math.max(largest[i % width] as number, Math.abs(table[i] as number));
  }
  const scales = largest.map((magnitude) => (magnitude > 0 ? magnitude / INT8_MAX : 1));
  const integers = Int8Array.from(table, (value, i) => Math.round(value / (scales[i % width] as number)));
  return { integers, scales };
}
