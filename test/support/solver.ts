import {
  type Device,
  type F32,
  type GridOptions,
  ops,
  type RangeSource,
} from "../../kernels/index.ts";

export type LayerInput = {
  readonly out: number;
  readonly in: number;
  /** [out, in] */
  readonly weight: Float32Array<ArrayBuffer>;
  /** [in, in] */
  readonly hessian: Float32Array<ArrayBuffer>;
};

export type LayerOptions = {
  readonly grid: GridOptions;
  /** Columns per group; the number of columns for one group per row. */
  readonly groupSize: number;
  readonly range: RangeSource;
  /** Columns in descending order of the Hessian's diagonal, ties in their own order. */
  readonly descending: boolean;
  readonly damping: number;
  readonly block: number;
};

/** Matrices are in processing order: column i of them is column order[i] of the weight. */
export type QuantizedLayer = {
  readonly order: Int32Array<ArrayBuffer>;
  readonly columnGroup: Int32Array<ArrayBuffer>;
  /** [out, groups] */
  readonly scales: Float32Array<ArrayBuffer>;
  readonly zeros: Int32Array<ArrayBuffer>;
  /** [out, in] */
  readonly codes: Uint8Array<ArrayBuffer>;
  /** [out, in]: scale · (code − zero) */
  readonly rounded: Float32Array<ArrayBuffer>;
  /** [out, in]: (w − rounded) / U[i, i] for w as it was when its column was reached */
  readonly error: Float32Array<ArrayBuffer>;
  /** [in, in] */
  readonly factor: Float32Array<ArrayBuffer>;
  readonly status: number;
};

export function columnOrder(
  hessian: Float32Array<ArrayBuffer>,
  n: number,
  descending: boolean,
): Int32Array<ArrayBuffer> {
  const diagonal = (i: number) => hessian[i * (n + 1)] ?? 0;
  const order = Array.from({ length: n }, (_, i) => i);
  if (descending) order.sort((a, b) => diagonal(b) - diagonal(a) || a - b);
  return Int32Array.from(order);
}

/** Columns of a row-major matrix in another order. */
export function permuteColumns<A extends Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(
  matrix: A,
  order: Int32Array<ArrayBuffer>,
): A {
  const n = order.length;
  const result = matrix.slice();
  for (let i = 0; i < matrix.length; i++) {
    result[i] = matrix[i - (i % n) + (order[i % n] ?? 0)] ?? 0;
  }
  return result as A;
}

function permuteBoth(
  matrix: Float32Array<ArrayBuffer>,
  order: Int32Array<ArrayBuffer>,
): Float32Array<ArrayBuffer> {
  const n = order.length;
  return matrix.map(
    (_, i) => matrix[(order[Math.floor(i / n)] ?? 0) * n + (order[i % n] ?? 0)] ?? 0,
  );
}

/** GPTQ on one layer, block by block, as a quantizer would call the operations. */
export async function quantizeLayer(
  device: Device,
  layer: LayerInput,
  options: LayerOptions,
): Promise<QuantizedLayer> {
  const { out } = layer;
  const n = layer.in;
  const order = columnOrder(layer.hessian, n, options.descending);
  const groups = Math.ceil(n / options.groupSize);
  const given = options.range === "given";
  const columnGroup = Int32Array.from(order, (column, i) =>
    Math.floor((given ? column : i) / options.groupSize),
  );
  const original = device.from("f32", layer.weight, [out, n]);
  const { scales, zeros } = given
    ? ops.findGrid(original, options.grid, options.groupSize)
    : { scales: device.empty("f32", [out, groups]), zeros: device.empty("i32", [out, groups]) };
  const hessian = device.from("f32", permuteBoth(layer.hessian, order), [n, n]);
  const { factor, status } = ops.inverseCholesky(hessian, options.damping);
  const w = device.from("f32", permuteColumns(layer.weight, order), [out, n]);
  const codes = device.empty("u8", [out, n]);
  const weight = { w, columnGroup: device.from("i32", columnGroup), scales, zeros, codes };
  const blocks: { begin: number; error: F32 }[] = [];
  for (let begin = 0; begin < n; begin += options.block) {
    const end = Math.min(n, begin + options.block);
    const error = ops.gptqBlock(weight, factor, { begin, end }, options);
    ops.trailingUpdate(w, error, factor, begin);
    blocks.push({ begin, error });
  }
  const errors = new Float32Array(out * n);
  for (const { begin, error } of blocks) {
    const values = await error.read();
    const width = error.size(1);
    for (let row = 0; row < out; row++) {
      errors.set(values.subarray(row * width, (row + 1) * width), row * n + begin);
    }
  }
  return {
    order,
    columnGroup,
    scales: await scales.read(),
    zeros: await zeros.read(),
    codes: await codes.read(),
    rounded: await w.read(),
    error: errors,
    factor: await factor.read(),
    status: (await status.read())[0] ?? -1,
  };
}

/**
 * Upper bound on the relative error of entries of the factor computed in f32, to first order: condition number
 * of the damped Hessian (at most its Frobenius norm over the damping) times eps · sqrt(n).
 */
export function factorTolerance(
  hessian: Float32Array<ArrayBuffer>,
  n: number,
  damping: number,
): number {
  let trace = 0;
  let squares = 0;
  for (let i = 0; i < n; i++) trace += hessian[i * (n + 1)] ?? 0;
  for (const value of hessian) squares += value * value;
  const condition = 1 + Math.sqrt(squares) / ((damping * trace) / n);
  return 2 ** -24 * Math.sqrt(n) * condition;
}
