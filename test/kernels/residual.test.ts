import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { implementations, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { problem } from "../support/refine.ts";
import { dotTolerance, eps, expectClose, norm } from "../support/tolerance.ts";

describe("residual and accumulateProduct", () => {
  test.each(implementations)("multiply on %s", async (isa) => {
    const p = problem(7, 45, 45);
    const w = normal(7 * 45, seeded(5), { scale: 0.02 });
    await withDevice({ isa }, async (device) => {
      const target = device.from("f32", p.target, [7, 45]);
      const given = device.from("f32", w, [7, 45]);
      const hessian = device.from("f32", p.hessian, [45, 45]);
      const y = ops.residual(target, given, hessian);
      const product = (i: number) => {
        let sum = 0;
        for (let k = 0; k < 45; k++) {
          const at = Math.floor(i / 45) * 45 + k;
          sum += (p.target[at]! - w[at]!) * p.hessian[k * 45 + (i % 45)]!;
        }
        return sum;
      };
      const expected = Float32Array.from({ length: 7 * 45 }, (_, i) => product(i));
      const tolerance = dotTolerance(45, norm(p.target) + norm(w), norm(p.hessian));
      expectClose(await y.read(), expected, tolerance);
      const c = ops.copy(y);
      ops.accumulateProduct({ a: target, b: hessian }, c, "-");
      ops.accumulateProduct({ a: given, b: hessian }, c, "+");
      expectClose(await c.read(), new Float32Array(7 * 45), 3 * tolerance + eps);
    });
  });

  test("check shapes", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const of = (...shape: number[]) => device.zeros("f32", shape);
      expect(() => ops.residual(of(2, 3), of(2, 4), of(3, 3))).toThrow(/residual/);
      expect(() => ops.accumulateProduct({ a: of(2, 3), b: of(2, 3) }, of(2, 3))).toThrow(/b/);
    });
  });
});
