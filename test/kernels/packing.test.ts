import { describe, expect, test } from "vitest";
import { ops, weightBits } from "../../kernels/index.ts";
import { call } from "../../kernels/native.ts";
import { packRows, randomGptqWeight } from "../support/gptq-weight.ts";
import { type Implementation, numberToF16, toBf16, withDevice } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { expectClose } from "../support/tolerance.ts";

// One for all processors, and CUDA's.
const implementations = ["scalar", "cuda"] as const satisfies readonly Implementation[];
const cases = implementations.flatMap((isa) => weightBits.map((bits) => ({ isa, bits })));

function transposed(values: Int32Array, rows: number, columns: number): Int32Array<ArrayBuffer> {
  return Int32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

// Around the tiles of 64 words.
const sizes: readonly (readonly [out: number, inputs: number])[] = [
  [8, 8],
  [1, 16],
  [17, 64],
  [64, 512],
  [65, 520],
  [130, 24],
];

describe.each(cases)("packing of $bits bits on $isa", ({ isa, bits }) => {
  const unit = bits === 3 ? 32 : 32 / bits;
  const whole = (extent: number) => Math.ceil(extent / unit) * unit;
  test.each(sizes)(
    "packs codes [%i, %i] along the inputs and unpacks them again",
    async (out, width) => {
      const inputs = whole(width);
      await withDevice({ isa }, async (device) => {
        const codes = integers(out * inputs, 2 ** bits, seeded(out + inputs));
        const packed = ops.packWeight(
          device.from("u8", Uint8Array.from(codes), [out, inputs]),
          bits,
        );
        expect(packed.shape).toEqual([(inputs * bits) / 32, out]);
        expect(await packed.read()).toEqual(packRows(transposed(codes, out, inputs), out, bits));
        expect(await ops.unpackWeight(packed, bits).read()).toEqual(Uint8Array.from(codes));
      });
    },
  );

  test.each([
    [8, 1, 0],
    [72, 5, 1],
    [520, 70, 1],
    [16, 130, 0],
  ] as const)(
    "packs zeros [%i, %i] stored minus %i and unpacks them again",
    async (some, groups, offset) => {
      const out = whole(some);
      await withDevice({ isa }, async (device) => {
        const zeros = integers(out * groups, 2 ** bits, seeded(out));
        const packed = ops.packZeros(device.from("i32", zeros, [out, groups]), bits, offset);
        const storedZeros = transposed(zeros, out, groups).map(
          (z) => (z - offset) & (2 ** bits - 1),
        );
        expect(await packed.read()).toEqual(packRows(storedZeros, 1, bits));
        expect(await ops.unpackZeros(packed, bits, offset).read()).toEqual(zeros);
      });
    },
  );

  test("reads and writes views, and nothing beside them", async () => {
    await withDevice({ isa }, async (device) => {
      const inputs = 2 * unit;
      const codes = Uint8Array.from(integers(5 * 80, 2 ** bits, seeded(1)));
      const view = device.from("u8", codes, [5, 80]).narrow(1, 8, inputs).narrow(0, 1, 3);
      const canvas = device.from("i32", new Int32Array(8 * 7).fill(-777), [8, 7]);
      const words = (inputs * bits) / 32;
      const qweight = canvas.narrow(0, 1, words).narrow(1, 2, 3);
      call((addon) => addon.packWeight(device.handle, view.handle, bits, qweight.handle));
      const inside = [1, 2, 3].flatMap((r) => [...codes.subarray(r * 80 + 8, r * 80 + 8 + inputs)]);
      const copied = device.from("u8", Uint8Array.from(inside), [3, inputs]);
      const dense = await ops.packWeight(copied, bits).read();
      const expected = new Int32Array(8 * 7).fill(-777);
      for (let r = 0; r < words; r++)
        expected.set(dense.subarray(r * 3, r * 3 + 3), (r + 1) * 7 + 2);
      expect(await canvas.read()).toEqual(expected);
      const around = device.from("u8", new Uint8Array(4 * 70).fill(77), [4, 70]);
      const inner = around.narrow(0, 0, 3).narrow(1, 1, inputs);
      call((addon) => addon.unpackWeight(device.handle, qweight.handle, bits, inner.handle));
      const unpacked = new Uint8Array(4 * 70).fill(77);
      for (let r = 0; r < 3; r++)
        unpacked.set(inside.slice(r * inputs, (r + 1) * inputs), r * 70 + 1);
      expect(await around.read()).toEqual(unpacked);
    });
  });

  test.each([false, true])("dequantizes as defined (scattered groups: %s)", async (scattered) => {
    for (const scaleDtype of ["f32", "f16", "bf16"] as const) {
      for (const [inputs, out, groupSize] of [
        [8, 8, 8],
        [72, 136, 20],
        [520, 72, 64],
      ] as const) {
        await withDevice({ isa }, async (device) => {
          const shape = {
            in: whole(inputs),
            out: whole(out),
            bits,
            zeroOffset: 1,
            groupSize,
            scaleDtype,
            scattered,
          } as const;
          const { weight, values } = randomGptqWeight(device, shape, seeded(inputs));
          expectClose(await ops.dequantize(weight).read(), values, 0, scaleDtype);
        });
      }
    }
  });

  test("refuses sizes that do not fill words and a group outside the table", async () => {
    const shape = expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" });
    const run = withDevice({ isa }, async (device) => {
      expect(() => ops.packWeight(device.zeros("u8", [3, unit + 1]), bits)).toThrow(shape);
      const wrong = device.zeros("i32", [2, 4]);
      const codes = device.zeros("u8", [3, 64]);
      expect(() =>
        call((addon) => addon.packWeight(device.handle, codes.handle, bits, wrong.handle)),
      ).toThrow(shape);
      const layout = {
        in: unit,
        out: unit,
        bits,
        zeroOffset: 0,
        groupSize: unit,
        scaleDtype: "f16",
      } as const;
      const { weight } = randomGptqWeight(device, { ...layout, scattered: false }, seeded(1));
      const groupIndex = device.from(
        "i32",
        Int32Array.from({ length: unit }, (_, i) => (i === 3 ? 1 : 0)),
      );
      await ops.dequantize({ ...weight, groupIndex }).read();
    });
    await expect(run).rejects.toMatchObject({ name: "KernelError", code: "KERNEL_VALUE" });
    await expect(run).rejects.toThrow(
      isa === "cuda" ? "group_index[3] is 1; expected 0 to 0" : "input 3",
    );
  });
});

describe.each(implementations)("transpose on %s", (isa) => {
  test.each([
    [1, 1],
    [3, 70],
    [64, 65],
    [130, 17],
  ])("moves [%i, %i] and rounds to the nearest of the new dtype", async (rows, columns) => {
    await withDevice({ isa }, async (device) => {
      const values = normal(rows * columns, seeded(rows), { heavy: true, scale: 1e-3 });
      const x = device.from("f32", values, [rows, columns]);
      const expected = Float32Array.from(
        values,
        (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!,
      );
      expect(await ops.transpose(x, "f32").read()).toEqual(expected);
      expect(await ops.transpose(x, "bf16").read()).toEqual(toBf16(expected));
      expect(await ops.transpose(x, "f16").read()).toEqual(Uint16Array.from(expected, numberToF16));
      const back = ops.transpose(ops.transpose(x, "bf16"), "bf16");
      expect(await back.read()).toEqual(toBf16(values));
    });
  });

  test("refuses a result of another shape", async () => {
    await withDevice({ isa }, async (device) => {
      const x = device.zeros("f32", [2, 3]);
      const y = device.zeros("f32", [2, 3]);
      expect(() => call((addon) => addon.transpose(device.handle, x.handle, y.handle))).toThrow(
        expect.objectContaining({ code: "KERNEL_SHAPE" }),
      );
    });
  });
});
