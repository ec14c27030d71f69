// Small runs of every operation, of shapes that reach all of its kernels: what the mutation check compares, bit by bit.
import {
  type Device,
  DrawRows,
  type F32,
  type GptqWeight,
  type GridOptions,
  ops,
  type Tensor,
} from "../../kernels/index.ts";
import { attendOn, makeProblem, span } from "../support/attention.ts";
import { toBf16 } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";

export type Case = {
  readonly name: string;
  /** Enqueues; the results are what is compared. */
  run(device: Device): readonly Tensor[];
};

/** Tensors of seeded random content. */
class Inputs {
  readonly #device: Device;
  readonly #random = seeded(1);

  constructor(device: Device) {
    this.#device = device;
  }

  f32(shape: readonly number[], scale = 1): F32 {
    return this.#device.from("f32", normal(count(shape), this.#random, { scale }), shape);
  }

  bf16(shape: readonly number[]): Tensor<"bf16"> {
    return this.#device.from("bf16", toBf16(normal(count(shape), this.#random)), shape);
  }

  i32(shape: readonly number[], limit: number): Tensor<"i32"> {
    return this.#device.from("i32", integers(count(shape), limit, this.#random), shape);
  }

  u8(shape: readonly number[], limit = 256): Tensor<"u8"> {
    return this.#device.from(
      "u8",
      Uint8Array.from(integers(count(shape), limit, this.#random)),
      shape,
    );
  }

  weight(out: number, inputs: number, bits: 4 | 8, groupSize: number): GptqWeight {
    const groups = Math.ceil(inputs / groupSize);
    const word = 2 ** 32;
    return {
      qweight: this.i32([(inputs * bits) / 32, out], word),
      qzeros: this.i32([groups, (out * bits) / 32], word),
      scales: ops.cast(this.f32([groups, out], 0.1), "f16", this.#device.zeros("i32", [2])),
      ...{ groupIndex: undefined, bits, zeroOffset: 1, groupSize },
    };
  }

  /** Symmetric and positive definite. */
  hessian(n: number): F32 {
    const gram = this.#device.zeros("f32", [n, n]);
    ops.accumulateGram(this.f32([2 * n, n]), gram);
    ops.finishHessian(gram, 1 / n);
    return gram;
  }
}

function count(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1);
}

const symmetric: GridOptions = {
  ...{ bits: 4, symmetric: true, keepsPositiveRange: false, isSigned: true },
  ...{ scaleDtype: "f16", minimizesError: true },
};

function rounded(device: Device, inputs: Inputs, out: number, columns: number, groupSize: number) {
  const w = inputs.f32([out, columns]);
  const { scales, zeros } = ops.findGrid(w, symmetric, groupSize);
  const columnGroup = device.from(
    "i32",
    Int32Array.from({ length: columns }, (_, i) => Math.floor(i / groupSize)),
  );
  return { w, columnGroup, scales, zeros, codes: device.zeros("u8", [out, columns]) };
}

const linears: readonly Case[] = [
  ...[3, 40].flatMap((rows) => [
    {
      name: `linear of ${rows} rows, bf16`,
      run: (device: Device) => {
        const inputs = new Inputs(device);
        return [ops.linear(inputs.f32([rows, 200]), inputs.bf16([70, 200]), inputs.bf16([70]))];
      },
    },
    {
      name: `linear of ${rows} rows, f32`,
      run: (device: Device) => {
        const inputs = new Inputs(device);
        return [ops.linear(inputs.f32([rows, 100]), inputs.f32([70, 100]))];
      },
    },
    ...([4, 8] as const).flatMap((bits) => [
      {
        name: `linearGptq of ${rows} rows, ${bits} bits`,
        run: (device: Device) => {
          const inputs = new Inputs(device);
          return [ops.linearGptq(inputs.f32([rows, 256]), inputs.weight(64, 256, bits, 64))];
        },
      },
      ...(["int8", "int16"] as const).map((activations) => ({
        name: `quantizedLinear of ${rows} rows, ${bits} bits, ${activations}`,
        run: (device: Device) => {
          const inputs = new Inputs(device);
          const packed = ops.packLinear(inputs.weight(96, 1280, bits, 128));
          const results = ops.quantizedLinear(inputs.f32([rows, 1280]), packed, { activations });
          return [packed.words, results];
        },
      })),
    ]),
  ]),
  {
    name: "quantizedLinear of 1 row",
    run: (device) => {
      const inputs = new Inputs(device);
      const packed = ops.packLinear(inputs.weight(96, 1280, 4, 128));
      return [ops.quantizedLinear(inputs.f32([1, 1280]), packed)];
    },
  },
  {
    name: "linear of many inputs",
    run: (device) => {
      const inputs = new Inputs(device);
      return [ops.linear(inputs.f32([24, 6000]), inputs.bf16([9, 6000]))];
    },
  },
  {
    name: "screenedArgmax",
    run: (device) => {
      const inputs = new Inputs(device);
      const weight = inputs.bf16([600, 256]);
      const screen = ops.packRows(weight);
      const x = inputs.f32([3, 256]);
      const { index, scored } = ops.screenedArgmax(x, weight, screen, 590);
      return [screen.slack, index, scored];
    },
  },
];

function attends(
  dtype: "f32" | "u8",
  dim: number,
  lengths: number[],
  rows: ReturnType<typeof span>,
) {
  return (device: Device) => {
    const problem = makeProblem({ heads: 4, kvHeads: 2, dim }, lengths, rows);
    const { cache, y } = attendOn(device, problem, { blockSize: 16, dtype });
    return [cache.k, cache.v, y];
  };
}

const inference: readonly Case[] = [
  {
    name: "rmsNorm",
    run: (device) => {
      const inputs = new Inputs(device);
      return [ops.rmsNorm(inputs.f32([3, 700]), inputs.bf16([700]), 1e-6)];
    },
  },
  {
    name: "attention, decode",
    run: attends("f32", 64, [700, 90], [...span(0, 699, 1), ...span(1, 89, 1)]),
  },
  { name: "attention, prefill", run: attends("f32", 64, [150], span(0, 50, 100)) },
  { name: "attention, wide heads", run: attends("f32", 160, [2100], span(0, 2099, 1)) },
  {
    name: "attention, prefill of two",
    run: attends("f32", 64, [60, 60], [...span(0, 40, 20), ...span(1, 40, 20)]),
  },
  { name: "attention of codes, decode", run: attends("u8", 128, [300], span(0, 299, 1)) },
  { name: "attention of codes, prefill", run: attends("u8", 128, [90], span(0, 10, 80)) },
  {
    name: "softmax",
    run: (device) => {
      const inputs = new Inputs(device);
      const logs = ops.logSoftmax(inputs.f32([3, 3000]));
      const others = ops.logSoftmax(inputs.f32([3, 3000]));
      return [logs, ops.klDivergence(logs, others), ops.argmax(logs, 2900)];
    },
  },
  {
    name: "sample",
    run: (device) => {
      // A third of the ids is about as likely as one another, if it were not for half of those having been seen: whatever goes
      // missing moves what is drawn.
      const random = seeded(2);
      const logits = normal(5 * 3000, random).map((x, i) => (i % 3 === 0 ? 40 + 0.1 * x : x));
      const ids = Int32Array.from({ length: 480 }, (_, i) => 6 * i);
      const seen = { ids, times: ids.map((id) => 1 + (id % 4)) };
      const penalties = { presencePenalty: 100, frequencyPenalty: 1, repetitionPenalty: 1.3 };
      const rows = [
        { temperature: 0, topK: 0, topP: 1, minP: 0 },
        { temperature: 1, topK: 0, topP: 1, minP: 0 },
        { temperature: 1, topK: 300, topP: 0.9, minP: 0 },
        { temperature: 1, topK: 0, topP: 0.95, minP: 0 },
        { temperature: 3, topK: 0, topP: 0.99, minP: 0.2 },
      ].map((options) => ({ options: { ...penalties, ...options }, seen }));
      const written = new DrawRows(device, rows.length, ids.length * rows.length);
      const input = device.from("f32", logits, [rows.length, 3000]);
      return Array.from({ length: 4 }, () => {
        written.write(rows.map((row) => ({ ...row, uniform: random() })));
        return ops.sample(input, 2900, written);
      });
    },
  },
  {
    name: "casts and counts",
    run: (device) => {
      const inputs = new Inputs(device);
      const counts = device.zeros("i32", [2]);
      const half = ops.cast(inputs.f32([40, 333], 60000), "f16", counts);
      return [half, counts, ops.countNonFinite(half)];
    },
  },
  {
    name: "quantizeCache",
    run: (device) => {
      const x = new Inputs(device).f32([5, 256]);
      const token = ops.quantizeCache(x, { heads: 2 });
      const call = ops.quantizeCache(x, { heads: 2, form: "call" });
      return [token.codes, token.scale, call.codes, call.scale, ops.dequantizeCache(token)];
    },
  },
  {
    name: "peaks",
    run: (device) => [ops.readAll(new Inputs(device).u8([100_000]), 3)],
  },
];

const quantization: readonly Case[] = [
  {
    name: "packing",
    run: (device) => {
      const inputs = new Inputs(device);
      const packed = ops.packWeight(inputs.u8([70, 96], 16), 4);
      return [packed, ops.unpackWeight(packed, 4), ops.transpose(inputs.f32([70, 45]), "f16")];
    },
  },
  {
    name: "packed zeros, dequantization",
    run: (device) => {
      const inputs = new Inputs(device);
      const zeros = ops.packZeros(inputs.i32([96, 5], 16), 4, 1);
      return [zeros, ops.unpackZeros(zeros, 4, 1), ops.dequantize(inputs.weight(96, 256, 4, 64))];
    },
  },
  ...(["f32", "bf16"] as const).map((dtype) => ({
    name: `Hessians of ${dtype}`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const gram = device.zeros("f32", [150, 150]);
      const cross = device.zeros("f32", [150, 150]);
      const x = inputs.f32([90, 150]);
      ops.accumulateGram(x, gram, dtype);
      ops.accumulateCross({ x, original: inputs.f32([90, 150]) }, cross, dtype);
      const diagonal = ops.finishHessian(gram, 0.5);
      return [gram, cross, diagonal];
    },
  })),
  {
    name: "inverseCholesky",
    run: (device) => {
      const { factor, status } = ops.inverseCholesky(new Inputs(device).hessian(201), 0.01);
      return [factor, status];
    },
  },
  ...(["given", "updated", "stale"] as const).map((range) => ({
    name: `gptqBlock, ${range} ranges`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const weight = rounded(device, inputs, 9, 192, 32);
      const { factor } = ops.inverseCholesky(inputs.hessian(192), 0.01);
      const importance = ops.finishHessian(inputs.hessian(192), 1);
      const block = { begin: 0, end: 128 };
      const error = ops.gptqBlock(weight, factor, block, { grid: symmetric, range, importance });
      ops.trailingUpdate(weight.w, error, factor, 0);
      return [weight.w, weight.scales, weight.codes, error];
    },
  })),
  ...(["updated", "stale"] as const).map((range) => ({
    name: `gptqBlock of more columns than a warp keeps, ${range} ranges`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const weight = rounded(device, inputs, 5, 160, 40);
      const { factor } = ops.inverseCholesky(inputs.hessian(160), 0.01);
      const block = { begin: 0, end: 160 };
      const error = ops.gptqBlock(weight, factor, block, { grid: symmetric, range });
      return [weight.w, weight.scales, weight.codes, error];
    },
  })),
  {
    name: "sums of squares",
    run: (device) => {
      const inputs = new Inputs(device);
      const [a, b, h] = [inputs.f32([70, 150]), inputs.f32([70, 150]), inputs.hessian(150)];
      const y = device.zeros("f32", [70]);
      ops.accumulateSquares(a, b, y);
      return [y, ops.quadraticForm(a, b, h), ops.quadraticForm(a, undefined, h)];
    },
  },
  ...[
    { columns: 128, groupSize: 128, sweeps: 1 },
    { columns: 128, groupSize: 128, sweeps: 2 },
    { columns: 300, groupSize: 150, sweeps: 2 },
  ].map(({ columns, groupSize, sweeps }) => ({
    name: `refinement of ${columns} columns together, ${sweeps} times`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const weight = rounded(device, inputs, 9, columns, groupSize);
      const target = ops.copy(weight.w);
      ops.roundToGrid(weight, 4);
      const hessian = inputs.hessian(columns);
      const residual = ops.residual(target, weight.w, hessian);
      const change = ops.refineBlock(
        weight,
        { residual, hessian },
        { begin: 0, end: columns },
        { bits: 4, scaleDtype: "f16", sweeps, refinesScales: true, refinesCodes: true },
      );
      ops.accumulateProduct({ a: change, b: hessian }, residual, "-");
      return [weight.codes, weight.scales, change, residual];
    },
  })),
];

export const cases: readonly Case[] = [...linears, ...inference, ...quantization];
