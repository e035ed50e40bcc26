/** Lower triangular L with L Lᵀ = `matrix`, a symmetric positive definite n × n one, row by row. */
export function choleskyFactor(matrix: Float64Array, n: number): Float64Array {
  const factor = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = matrix[i * n + j] as number;
      for (let k = 0; k < j; k++) sum -= (factor[i * n + k] as number) * (factor[j * n + k] as number);
      factor[i * n + j] = i === j ? Math.sqrt(sum) : sum / (factor[j * n + j] as number);
    }
  }
  return factor;
}

/** Solves L Lᵀ X = B in place, for B of n rows and `columns` columns. */
export function choleskySolve(factor: Float64Array, b: Float64Array, n: number, columns: number): void {
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) subtractRow(b, i, k, factor[i * n + k] as number, columns);
    divideRow(b, i, factor[i * n + i] as number, columns);
  }
  for (let i = n - 1; i >= 0; i--) {
    divideRow(b, i, factor[i * n + i] as number, columns);
    for (let k = 0; k < i; k++) subtractRow(b, k, i, factor[i * n + k] as number, columns);
  }
}

function subtractRow(b: Float64Array, from: number, row: number, times: number, columns: number): void {
  for (let c = 0; c < columns; c++) {
    const at = from * columns + c;
    b[at] = (b[at] as number) - times * (b[row * columns + c] as number);
  }
}

function divideRow(b: Float64Array, row: number, by: number, columns: number): void {
  for (let c = 0; c < columns; c++) b[row * columns + c] = (b[row * columns + c] as number) / by;
}
