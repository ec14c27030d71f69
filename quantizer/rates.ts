// How fast this machine does the steps of a run, from a few short trials on shapes like the model's.
import { type Device, type F32, ops } from "../kernels/index.ts";
import { gridOf } from "./methods/index.ts";
import { defaultRecipe, type Recipe } from "./recipe.ts";

/** Per second. A product counts two operations, as usual. */
export type Rates = {
  /** x·Wᵀ with a quantized weight, which is what blocks run with once their linears are rounded */
  readonly linear: number;
  /** x·Wᵀ with a weight of bf16, as the float model has it */
  readonly float: number;
  /** xᵀx, counted as a whole square though half of it is computed */
  readonly gram: number;
  /** n³ of a damped factorization and inversion */
  readonly factor: number;
  /** Weights rounded column by column */
  readonly rounded: number;
  /** f32 products of the solver and of its error */
  readonly product: number;
  /** Values checked and converted */
  readonly converted: number;
};

const trialRows = 512;
const millisecondsPerTrial = 250;

/**
 * Takes some three seconds and 200 MB.
 *
 * @param shape.inFeatures    of the model's linears: products of small matrices are slower
 * @param shape.hessianDtype  as in the recipe
 */
export async function measureRates(
  device: Device,
  shape: { readonly inFeatures: number; readonly hessianDtype: Recipe["hessianDtype"] },
): Promise<Rates> {
  const trials = new Trials(device);
  const n = Math.min(shape.inFeatures, 2048);
  using x = trials.random([trialRows, n]);
  using w = trials.random([n, n]);
  using counts = device.zeros("i32", [2]);
  using stored = ops.cast(w, "bf16", counts);
  using gram = device.zeros("f32", [n, n]);
  const linear = await linearRate(trials, x);
  const float = await trials.rate(2 * trialRows * n * n, () => {
    using _y = ops.linear(x, stored);
  });
  const gramRate = await trials.rate(2 * trialRows * n * n, () =>
    ops.accumulateGram(x, gram, shape.hessianDtype),
  );
  using diagonal = ops.finishHessian(gram, 1 / trialRows);
  await diagonal.read();
  const factorSize = Math.min(n, 1024);
  using small = trials.positiveDefinite(factorSize);
  const factor = await trials.rate(factorSize ** 3, () => {
    const { factor: result, status } = ops.inverseCholesky(small, 0.01);
    result[Symbol.dispose]();
    status[Symbol.dispose]();
  });
  return {
    ...{ linear, float, gram: gramRate, factor },
    rounded: await roundingRate(trials, factorSize),
    product: await trials.rate(2 * n ** 3, () => {
      using _form = ops.quadraticForm(w, undefined, gram);
    }),
    converted: await trials.rate(n * n, () => {
      using _bad = ops.countNonFinite(stored);
      using _cast = ops.cast(stored, "f16", counts);
    }),
  };
}

/** As many outputs as inputs, 4 bits. */
async function linearRate(trials: Trials, x: F32): Promise<number> {
  const { device } = trials;
  // Packed words hold eight codes, so sizes that are no multiple of it are rounded up.
  const n = Math.ceil(x.size(1) / 8) * 8;
  using wide = trials.random([trialRows, n]);
  using qweight = device.zeros("i32", [n / 8, n]);
  using qzeros = device.zeros("i32", [1, n / 8]);
  using scales = device.zeros("f32", [1, n]);
  const tensors = { qweight, qzeros, scales, groupIndex: undefined };
  const packed = ops.packLinear({ ...tensors, bits: 4, zeroOffset: 1, groupSize: n }, { zero: 8 });
  const rate = await trials.rate(2 * trialRows * n * n, () => {
    using _y = ops.quantizedLinear(wide, packed);
  });
  for (const tensor of [packed.words, packed.scales]) tensor[Symbol.dispose]();
  return rate;
}

/** One block of columns, in a weight of as many outputs. */
async function roundingRate(trials: Trials, size: number): Promise<number> {
  const { device } = trials;
  const columns = 128;
  using small = trials.positiveDefinite(size);
  const { factor, status } = ops.inverseCholesky(small, 0.01);
  using _factor = factor;
  using _status = status;
  using w = trials.random([size, size]);
  using columnGroup = device.from(
    "i32",
    Int32Array.from({ length: size }, (_, i) => Math.floor(i / columns)),
  );
  const grid = gridOf(defaultRecipe);
  const { scales, zeros } = ops.findGrid(w, grid, columns);
  using _scales = scales;
  using _zeros = zeros;
  using codes = device.empty("u8", [size, size]);
  const weight = { w, columnGroup, scales, zeros, codes };
  return await trials.rate(size * columns, () => {
    const block = { begin: 0, end: columns };
    using _error = ops.gptqBlock(weight, factor, block, { grid, range: "given" });
  });
}

class Trials {
  readonly device: Device;
  #seed = 1;

  constructor(device: Device) {
    this.device = device;
  }

  random([rows, width]: readonly [number, number]): F32 {
    const values = Float32Array.from({ length: rows * width }, () => {
      this.#seed = (Math.imul(this.#seed, 1664525) + 1013904223) >>> 0;
      return this.#seed / 2 ** 32 - 0.5;
    });
    return this.device.from("f32", values, [rows, width]);
  }

  /** 2 on the diagonal. */
  positiveDefinite(n: number): F32 {
    const values = new Float32Array(n * n);
    for (let i = 0; i < n; i++) values[i * (n + 1)] = 2;
    return this.device.from("f32", values, [n, n]);
  }

  /** Operations per second of the fastest run, the first left out: others had the cores during the slower ones. */
  async rate(operations: number, action: () => void): Promise<number> {
    action();
    await this.device.sync();
    const until = performance.now() + millisecondsPerTrial;
    let fastest = Number.POSITIVE_INFINITY;
    do {
      const started = performance.now();
      action();
      await this.device.sync();
      fastest = Math.min(fastest, performance.now() - started);
    } while (performance.now() < until);
    return (1000 * operations) / fastest;
  }
}
