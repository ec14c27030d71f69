import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { withDevice } from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";

// One implementation on the processor.
const withScalar = ["scalar", "cuda"] as const;
const value = (values: ArrayLike<number>, i: number) => values[i] ?? Number.NaN;

describe.each(withScalar)("gatherRows on %s", (isa) => {
  test("returns the rows asked for, of every element size and from a strided view", async () => {
    const random = seeded(1);
    await withDevice({ isa }, async (device) => {
      const index = device.from("i32", Int32Array.of(4, 0, 4, 2));
      const f32 = normal(5 * 9, random);
      const view = device.from("f32", f32, [5, 9]).narrow(1, 1, 7);
      const rows = [4, 0, 4, 2].flatMap((row) => [...f32.subarray(row * 9 + 1, row * 9 + 8)]);
      expect(await ops.gatherRows(view, index).read()).toEqual(Float32Array.from(rows));
      const bytes = Uint8Array.from({ length: 15 }, (_, i) => i);
      const picked = [12, 13, 14, 0, 1, 2, 12, 13, 14, 6, 7, 8];
      expect(await ops.gatherRows(device.from("u8", bytes, [5, 3]), index).read()).toEqual(
        Uint8Array.from(picked),
      );
      const halves = Uint16Array.from(bytes);
      expect(await ops.gatherRows(device.from("bf16", halves, [5, 3]), index).read()).toEqual(
        Uint16Array.from(picked),
      );
    });
  });

  test.each([-1, 5])("the index %i faults the device", async (bad) => {
    const outcome = withDevice({ isa }, async (device) => {
      ops.gatherRows(device.zeros("f32", [5, 2]), device.from("i32", Int32Array.of(0, bad)));
    });
    await expect(outcome).rejects.toMatchObject({ code: "KERNEL_VALUE" });
  });
});

describe.each(withScalar)("gatherColumns on %s", (isa) => {
  test("a permutation of columns and its inverse give back f32 and u8 matrices", async () => {
    const random = seeded(2);
    const [rows, width] = [300, 130];
    const order = Int32Array.from({ length: width }, (_, i) => (i * 37) % width);
    const inverse = new Int32Array(width);
    order.forEach((from, to) => {
      inverse[from] = to;
    });
    const f32 = normal(rows * width, random);
    const u8 = Uint8Array.from(integers(rows * width, 256, random));
    await withDevice({ isa }, async (device) => {
      const [there, back] = [device.from("i32", order), device.from("i32", inverse)];
      const moved = ops.gatherColumns(device.from("f32", f32, [rows, width]), there);
      const values = await moved.read();
      expect(values).toEqual(
        Float32Array.from(values, (_, i) => value(f32, i - (i % width) + value(order, i % width))),
      );
      expect(await ops.gatherColumns(moved, back).read()).toEqual(f32);
      const codes = ops.gatherColumns(device.from("u8", u8, [rows, width]), there);
      expect(await ops.gatherColumns(codes, back).read()).toEqual(u8);
    });
  });

  test("repeats columns of a strided view, and refuses other dtypes", async () => {
    await withDevice({ isa }, async (device) => {
      const x = device.from("f32", Float32Array.of(0, 1, 2, 3, 4, 5, 6, 7), [2, 4]).narrow(1, 1, 3);
      const y = ops.gatherColumns(x, device.from("i32", Int32Array.of(2, 2, 0, 1)));
      expect(await y.read()).toEqual(Float32Array.of(3, 3, 1, 2, 7, 7, 5, 6));
      const wrong = device.zeros("i32", [2, 4]) as unknown as typeof x;
      expect(() => ops.gatherColumns(wrong, device.zeros("i32", [1]))).toThrow(
        expect.objectContaining({ name: "KernelError", code: "KERNEL_DTYPE" }),
      );
    });
  });

  test.each([-1, 4])("the index %i faults the device", async (bad) => {
    const outcome = withDevice({ isa }, async (device) => {
      ops.gatherColumns(device.zeros("f32", [2, 4]), device.from("i32", Int32Array.of(bad)));
    });
    await expect(outcome).rejects.toMatchObject({ code: "KERNEL_VALUE" });
  });
});

describe.each(withScalar)("zeroColumns on %s", (isa) => {
  test("clears exactly the columns whose diagonal is zero, NaN weights included", async () => {
    const [rows, width] = [40, 50];
    const w = normal(rows * width, seeded(3));
    w[3] = Number.NaN;
    const diagonal = Float32Array.from({ length: width }, (_, j) => (j % 7 === 3 ? 0 : -j - 1e-30));
    const actual = await withDevice({ isa }, async (device) => {
      using t = device.from("f32", w, [rows, width]);
      ops.zeroColumns(t, device.from("f32", diagonal));
      return t.read();
    });
    expect(actual).toEqual(w.map((v, i) => (value(diagonal, i % width) === 0 ? 0 : v)));
  });
});
