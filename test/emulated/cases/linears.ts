import { type Device, ops } from "../../../kernels/index.ts";
import type { Case } from "./case.ts";
import { Inputs } from "./inputs.ts";

export const linears: readonly Case[] = [
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
  ...[1, 3, 40].map((rows) => ({
    name: `gatedLinear of ${rows} rows`,
    run: (device: Device) => {
      const inputs = new Inputs(device);
      const linear = () => ({ weight: ops.packLinear(inputs.weight(96, 1280, 4, 128)) });
      const [up, gate] = [linear(), linear()];
      const norm = { weight: inputs.bf16([1280]), epsilon: 1e-6 };
      return [ops.gatedLinear(inputs.f32([rows, 1280]), { up, gate, norm })];
    },
  })),
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
