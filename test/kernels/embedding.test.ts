import { describe, expect, test } from "vitest";
import { type FloatTensor, ops } from "../../kernels/index.ts";
import {
  f16ToNumber,
  fromBf16,
  implementations,
  numberToF16,
  toBf16,
  withDevice,
} from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";

describe.each(implementations)("embedding on %s", (isa) => {
  test("returns the rows of f32, f16 and bf16 tables exactly", async () => {
    const random = seeded(1);
    const width = 19;
    const f32 = normal(11 * width, random);
    const f16 = Uint16Array.from(normal(11 * width, random), numberToF16);
    const bf16 = toBf16(normal(11 * width, random));
    const ids = Int32Array.of(10, 0, 3, 3, 7);
    await withDevice({ isa }, async (device) => {
      using index = device.from("i32", ids);
      const check = async (table: FloatTensor, values: Float32Array) => {
        using y = ops.embedding(table, index);
        const rows = Array.from(ids).flatMap((id) => [
          ...values.subarray(id * width, (id + 1) * width),
        ]);
        expect(await y.read()).toEqual(Float32Array.from(rows));
      };
      await check(device.from("f32", f32, [11, width]), f32);
      await check(device.from("f16", f16, [11, width]), Float32Array.from(f16, f16ToNumber));
      await check(device.from("bf16", bf16, [11, width]), fromBf16(bf16));
    });
  });

  test("many rows on two threads are the table's", async () => {
    const random = seeded(2);
    const table = normal(50 * 100, random);
    const ids = integers(1000, 50, random);
    const actual = await withDevice({ isa }, async (device) => {
      using t = device.from("f32", table, [50, 100]);
      using index = device.from("i32", ids);
      using y = ops.embedding(t, index);
      return y.read();
    });
    expect(actual).toEqual(
      Float32Array.from(
        actual,
        (_, i) => table[(ids[Math.floor(i / 100)] ?? 0) * 100 + (i % 100)] ?? 0,
      ),
    );
  });

  test.each([-1, 11, 2 ** 31 - 1])(
    "the id %i outside the table faults the device by name",
    async (id) => {
      const outcome = withDevice({ isa }, async (device) => {
        ops.embedding(device.zeros("f32", [11, 4]), device.from("i32", Int32Array.of(1, id)));
      });
      await expect(outcome).rejects.toMatchObject({
        code: "KERNEL_VALUE",
        message: expect.stringContaining(String(id)),
      });
    },
  );

  test("no ids give no rows", async () => {
    await withDevice({ isa }, async (device) => {
      using y = ops.embedding(device.zeros("f32", [11, 4]), device.zeros("i32", [0]));
      expect(await y.read()).toHaveLength(0);
    });
  });
});
