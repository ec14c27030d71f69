// Linears of the true shapes, from one row to a long prompt: share of the read bandwidth where that bounds them, operations
// per second where arithmetic does.

import { randomFillSync } from "node:crypto";
import {
  type Device,
  type F32,
  type FloatTensor,
  ops,
  type PackedWeight,
  type Tensor,
} from "../../kernels/index.ts";
import { Machine } from "../../runtime/bench/index.ts";
import { numberToF16 } from "../support/kernels.ts";
import { openTried, recorder } from "./record.ts";
import { timeGraph } from "./timing.ts";

/** [out, in] of c_attn, attn.c_proj, w1 and w2, mlp.c_proj. */
function shapesOf(width: number, ffn: number): readonly (readonly [number, number])[] {
  return [
    [3 * width, width],
    [width, width],
    [ffn, width],
    [width, ffn],
  ];
}
const models = { "1.8b": [2048, 5504], "7b": [4096, 11008], "72b": [8192, 24576] } as const;
const rowCounts = [1, 2, 4, 8, 16, 32, 64, 128, 512, 2048];
/** Together several times the second-level cache. */
const copyBytes = 256e6;

const record = recorder("kernels");
using device = openTried();
const bandwidth = await measureBandwidth(device);
for (const [model, [width, ffn]] of Object.entries(models)) {
  for (const [out, inputs] of shapesOf(width, ffn)) {
    for (const bits of [4, 8] as const) await measurePacked(model, out, inputs, bits);
    await measureFloat(model, out, inputs);
  }
  await measureGated(model, ffn, width);
}

async function measureBandwidth(on: Device): Promise<number> {
  using machine = new Machine(on, 2 ** 31);
  return (await machine.measure([])).bandwidth;
}

function random<T extends Int32Array<ArrayBuffer> | Uint16Array<ArrayBuffer>>(array: T): T {
  for (let i = 0; i < array.byteLength; i += 2 ** 24) {
    randomFillSync(new Uint8Array(array.buffer, i, Math.min(2 ** 24, array.byteLength - i)));
  }
  return array;
}

function packed(out: number, inputs: number, bits: 4 | 8): PackedWeight {
  const groups = inputs / 128;
  const zeros = bits === 4 ? 0x77777777 : 0x7f7f7f7f;
  using qweight = device.from("i32", random(new Int32Array((inputs * bits * out) / 32)), [
    (inputs * bits) / 32,
    out,
  ]);
  using qzeros = device.from("i32", new Int32Array((groups * out * bits) / 32).fill(zeros), [
    groups,
    (out * bits) / 32,
  ]);
  using scales = device.from("f16", new Uint16Array(groups * out).fill(numberToF16(0.01)), [
    groups,
    out,
  ]);
  const shape = { groupIndex: undefined, bits, zeroOffset: 1, groupSize: 128 } as const;
  return ops.packLinear({ qweight, qzeros, scales, ...shape }, { zero: 2 ** (bits - 1) });
}

function activations(rows: number, inputs: number): F32 {
  return device.from(
    "f32",
    Float32Array.from({ length: rows * inputs }, () => Math.random() - 0.5),
    [rows, inputs],
  );
}

type Measured = {
  readonly model: string;
  readonly kind: string;
  readonly out: number;
  readonly inputs: number;
  readonly bytes: number;
};

async function measureRows<W extends Disposable>(
  { model, kind, out, inputs, bytes }: Measured,
  make: () => W,
  apply: (x: F32, weight: W) => Tensor,
): Promise<void> {
  const weights = Array.from({ length: Math.max(3, Math.ceil(copyBytes / bytes)) }, make);
  for (const rows of rowCounts) {
    using x = activations(rows, inputs);
    const seconds = await timeGraph(device, weights.length, () =>
      weights.map((weight) => apply(x, weight)),
    );
    record({
      ...{ model, kind, out, inputs, rows, µs: seconds * 1e6 },
      "share of bandwidth": bytes / seconds / bandwidth,
      "TFLOP/s": (2 * rows * out * inputs) / seconds / 1e12,
    });
  }
  for (const weight of weights) weight[Symbol.dispose]();
}

async function measurePacked(
  model: string,
  out: number,
  inputs: number,
  bits: 4 | 8,
): Promise<void> {
  const bytes = (out * inputs * (bits + 16 / 128)) / 8;
  await measureRows(
    { model, kind: `int${bits}`, out, inputs, bytes },
    () => {
      const weight = packed(out, inputs, bits);
      const dispose = () => {
        for (const tensor of [weight.words, weight.scales]) tensor[Symbol.dispose]();
      };
      return { weight, [Symbol.dispose]: dispose };
    },
    (x, { weight }) => ops.quantizedLinear(x, weight, { activations: "int8" }),
  );
}

/** Two products of one input, normalised before, and SwiGLU of them. */
async function measureGated(model: string, out: number, inputs: number): Promise<void> {
  const bytes = (2 * out * inputs * (4 + 16 / 128)) / 8;
  using weight = device.from("bf16", new Uint16Array(inputs).fill(0x3f80), [inputs]);
  const norm = { weight, epsilon: 1e-6 };
  await measureRows(
    // As one product of both outputs.
    { model, kind: "int4 gated", out: 2 * out, inputs, bytes },
    () => {
      const [up, gate] = [packed(out, inputs, 4), packed(out, inputs, 4)];
      const dispose = () => {
        for (const { words, scales } of [up, gate]) {
          for (const tensor of [words, scales]) tensor[Symbol.dispose]();
        }
      };
      return { up: { weight: up }, gate: { weight: gate }, [Symbol.dispose]: dispose };
    },
    (x, { up, gate }) => ops.gatedLinear(x, { up, gate, norm, activations: "int8" }),
  );
}

async function measureFloat(model: string, out: number, inputs: number): Promise<void> {
  const bytes = 2 * out * inputs;
  const one = Uint16Array.from({ length: 4096 }, () => 0x3c00 + Math.floor(Math.random() * 512));
  await measureRows<FloatTensor>(
    { model, kind: "bf16", out, inputs, bytes },
    () => {
      const values = new Uint16Array(out * inputs);
      for (let i = 0; i < values.length; i += one.length) values.set(one, i);
      return device.from("bf16", values, [out, inputs]);
    },
    (x, weight) => ops.linear(x, weight),
  );
}
