import { type Device, type GridOptions, ops } from "../../../kernels/index.ts";
import type { Case } from "./case.ts";
import { Inputs } from "./inputs.ts";

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

export const quantization: readonly Case[] = [
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
