import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import { implementations, withDevice } from "../support/kernels.ts";
import { lossesOf, problem, refineWhole, rounded, type Steps } from "../support/refine.ts";
import { dotTolerance, expectClose, expectSameBits, norm } from "../support/tolerance.ts";

const shapes = [
  [1, 1, 1],
  [3, 5, 2],
  [17, 33, 8],
  [9, 64, 64],
  [16, 96, 32],
  [33, 130, 128],
  [9, 180, 90],
  [3, 150, 150],
] as const;
const cases = implementations.flatMap((isa) =>
  shapes.map(([out, n, groupSize]) => ({ isa, out, n, groupSize })),
);
const both: Steps = { sweeps: 2, refinesScales: true, refinesCodes: true };

describe("refineBlock", () => {
  test.each(cases)("never raises the loss: $out × $n by $groupSize on $isa", async (at) => {
    const p = problem(at.out, at.n, at.groupSize);
    await withDevice({ isa: at.isa }, async (device) => {
      for (const steps of [
        { sweeps: 1, refinesScales: true, refinesCodes: false },
        { sweeps: 1, refinesScales: false, refinesCodes: true },
        both,
      ]) {
        const weight = rounded(device, p);
        const before = lossesOf(p, await weight.w.read());
        const after = lossesOf(p, (await refineWhole(device, p, weight, steps)).w);
        for (const [row, loss] of after.entries()) {
          // The residual is right to f32's rounding of a row's products.
          expect(loss, JSON.stringify(steps)).toBeLessThanOrEqual((before[row] ?? 0) * (1 + 1e-4));
        }
        if (at.n > 32) expect(sum(after)).toBeLessThan(0.97 * sum(before));
      }
    });
  });

  test.each(cases)(
    "gives the same bits as one row after another: $out × $n on $isa",
    async (at) => {
      const p = problem(at.out, at.n, at.groupSize, 3);
      const run = (isa: (typeof cases)[number]["isa"]) =>
        withDevice({ isa }, (device) => refineWhole(device, p, rounded(device, p), both));
      const [expected, actual] = [await run("scalar"), await run(at.isa)];
      expectSameBits(actual.w, expected.w);
      expectSameBits(actual.scales, expected.scales);
      expect(actual.codes).toEqual(expected.codes);
    },
  );

  test.each(implementations)("leaves weights that are scale · (code − zero) on %s", async (isa) => {
    const p = problem(5, 96, 32);
    await withDevice({ isa }, async (device) => {
      const { w, scales, codes } = await refineWhole(device, p, rounded(device, p), both, 32);
      const expected = Float32Array.from(codes, (code, i) => {
        const row = Math.floor(i / 96);
        return scales[row * 3 + Math.floor((i % 96) / 32)]! * (code - 8);
      });
      expectClose(w, expected, 0);
    });
  });

  test.each(implementations)("reports changes that keep the residual right on %s", async (isa) => {
    const p = problem(6, 128, 32);
    await withDevice({ isa }, async (device) => {
      const weight = rounded(device, p);
      const { w, residual } = await refineWhole(device, p, weight, both, 32);
      const target = device.from("f32", p.target, [6, 128]);
      const anew = ops.residual(
        target,
        device.from("f32", w, [6, 128]),
        device.from("f32", p.hessian, [128, 128]),
      );
      // Both are sums of the same terms, of which earlier weights were larger at most by a step.
      const tolerance = 40 * dotTolerance(128, norm(p.target) / 4, norm(p.hessian) / 10);
      expectClose(residual, await anew.read(), tolerance);
    });
  });

  test.each(implementations)(
    "finds the best scale of one group in closed form on %s",
    async (isa) => {
      const p = problem(4, 24, 24);
      await withDevice({ isa }, async (device) => {
        const weight = rounded(device, p);
        const codes = await weight.codes.read();
        const steps = { sweeps: 1, refinesScales: true, refinesCodes: false };
        const { scales } = await refineWhole(device, p, weight, steps);
        for (let row = 0; row < 4; row++) {
          let [top, bottom] = [0, 0];
          for (let i = 0; i < 24; i++) {
            for (let j = 0; j < 24; j++) {
              const [h, q] = [p.hessian[i * 24 + j]!, codes[row * 24 + i]! - 8];
              top += q * h * p.target[row * 24 + j]!;
              bottom += q * h * (codes[row * 24 + j]! - 8);
            }
          }
          // f16 keeps eleven bits.
          expect(Math.abs(scales[row]! / (top / bottom) - 1)).toBeLessThan(2 ** -11 + 1e-4);
        }
      });
    },
  );

  test.each(implementations)("keeps a scale where the group has only zeros on %s", async (isa) => {
    const p = { ...problem(2, 8, 8), target: new Float32Array(16) };
    await withDevice({ isa }, async (device) => {
      const weight = rounded(device, p);
      const before = await weight.scales.read();
      const after = await refineWhole(device, p, weight, both);
      expectSameBits(after.scales, before);
      expect(after.codes).toEqual(new Uint8Array(16).fill(8));
    });
  });

  test.each(implementations)("lets what is not finite be seen on %s", async (isa) => {
    const p = problem(2, 8, 8);
    await withDevice({ isa }, async (device) => {
      const weight = rounded(device, p);
      const broken = { ...p, target: p.target.map((x, i) => (i === 3 ? Number.NaN : x)) };
      const { w } = await refineWhole(device, broken, weight, both);
      expect(w.subarray(0, 8).some(Number.isNaN)).toBe(true);
      expect(w.subarray(8).some(Number.isNaN)).toBe(false);
    });
  });

  test.each(implementations)(
    "refuses to move the scale of a group that is cut in two on %s",
    async (isa) => {
      const p = problem(2, 16, 8);
      const run = withDevice({ isa }, async (device) =>
        refineWhole(device, p, rounded(device, p), both, 4),
      );
      await expect(run).rejects.toThrow(
        isa === "cuda"
          ? "refineBlock: columns of a group whose scale is to change[0] is 4; expected 0 to 3"
          : "refineBlock: columns 0 to 4 cut a group in two, whose scale is to change",
      );
      await withDevice({ isa }, async (device) => {
        const codes = { ...both, refinesScales: false };
        await refineWhole(device, p, rounded(device, p), codes, 4);
      });
    },
  );

  test("checks its arguments", async () => {
    const p = problem(2, 16, 8);
    const refine = (device: Device, end: number, options: object = {}, other: object = {}) =>
      ops.refineBlock(
        { ...rounded(device, p), ...other },
        { residual: device.zeros("f32", [2, 16]), hessian: device.zeros("f32", [16, 16]) },
        { begin: 0, end },
        { bits: 4, scaleDtype: "f16", ...both, ...options },
      );
    await withDevice({ isa: "scalar" }, async (device) => {
      expect(() => refine(device, 17)).toThrow(/columns 0 to 17 do not lie within/);
      expect(() => refine(device, 16, { sweeps: -1 })).toThrow(/refineBlock/);
      const codes = device.empty("u8", [2, 8]);
      expect(() => refine(device, 16, {}, { codes })).toThrow(/codes/);
    });
    for (const isa of implementations) {
      const run = withDevice({ isa }, async (device) =>
        refine(device, 16, {}, { columnGroup: device.from("i32", new Int32Array(16).fill(2)) }),
      );
      // Of the columns, all of which are wrong, a GPU names any.
      await expect(run).rejects.toThrow(
        isa === "cuda"
          ? /refineBlock: columnGroup\[\d+\] is 2; expected 0 to 1/
          : /column 0 belongs to group 2 of 2/,
      );
    }
  });
});

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}
