import {
  type Device,
  type F32,
  type GptqWeight,
  ops,
  type Tensor,
} from "../../../kernels/index.ts";
import { toBf16 } from "../../support/kernels.ts";
import { integers, normal, seeded } from "../../support/random.ts";

/** Tensors of seeded random content. */
export class Inputs {
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
