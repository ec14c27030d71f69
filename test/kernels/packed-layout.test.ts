import { describe, expect, test } from "vitest";
import { planLayout } from "../../kernels/ops/packed-layout.ts";

describe("planLayout", () => {
  test("keeps the order of inputs where groups fill blocks", () => {
    expect(planLayout(512, 128, undefined)).toMatchObject({ blockSize: 128, order: undefined });
    expect(planLayout(512, 256, undefined).blockGroups).toEqual(Int32Array.of(0, 0, 1, 1));
    expect(planLayout(300, 300, undefined)).toMatchObject({ blockSize: 128, order: undefined });
    expect(planLayout(96, 32, undefined).blockGroups).toEqual(Int32Array.of(0, 1, 2));
  });

  test("sorts inputs by group and pads the last block of each", () => {
    const { blockSize, order, blockGroups } = planLayout(20, 10, undefined);
    expect([blockSize, blockGroups]).toEqual([16, Int32Array.of(0, 1)]);
    expect([...order!.subarray(8, 26)]).toEqual([
      8, 9, -1, -1, -1, -1, -1, -1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19,
    ]);
    const scattered = planLayout(8, 4, Int32Array.of(1, 0, 1, 0, 1, 0, 1, 1));
    expect([...scattered.order!]).toEqual([1, 3, 5, -1, -1, -1, -1, -1, 0, 2, 4, 6, 7, -1, -1, -1]);
  });

  test("leaves out groups without inputs", () => {
    expect(planLayout(8, 4, new Int32Array(8).fill(2)).blockGroups).toEqual(Int32Array.of(2));
  });
});
