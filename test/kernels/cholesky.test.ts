import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import { implementations, runnableIsas, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { factorTolerance } from "../support/solver.ts";
import { expectClose, expectSameBits, norm } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;

/** XᵀX / rows of columns that differ in size by three orders of magnitude and share two directions. */
function hessianOf(n: number, seed: number): Floats {
  const random = seeded(seed);
  const rows = n + 16;
  const x = normal(rows * n, random);
  for (let row = 0; row < rows; row++) {
    const common = [random() - 0.5, random() - 0.5];
    for (let j = 0; j < n; j++) {
      const value = (x[row * n + j] ?? 0) + 5 * (common[j % 2] ?? 0);
      x[row * n + j] = value * 10 ** (1.5 * Math.sin(j * 1.7));
    }
  }
  const hessian = new Float32Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = i; j < n; j++) {
      let sum = 0;
      for (let row = 0; row < rows; row++) sum += (x[row * n + i] ?? 0) * (x[row * n + j] ?? 0);
      hessian[i * n + j] = hessian[j * n + i] = sum / rows;
    }
  }
  return hessian;
}

function damped(hessian: Floats, n: number, damping: number): Float64Array {
  const matrix = Float64Array.from(hessian);
  let trace = 0;
  for (let i = 0; i < n; i++) trace += hessian[i * (n + 1)] ?? 0;
  for (let i = 0; i < n; i++)
    matrix[i * (n + 1)] = (matrix[i * (n + 1)] ?? 0) + (damping * trace) / n;
  return matrix;
}

/** UᵀU (H + d·I) in double. */
function productWithInverse(factor: Floats, matrix: Float64Array, n: number): Float64Array {
  const times = (a: (i: number, p: number) => number, b: Float64Array) => {
    const c = new Float64Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let p = 0; p < n; p++) {
        const left = a(i, p);
        if (left === 0) continue;
        for (let j = 0; j < n; j++) c[i * n + j] = (c[i * n + j] ?? 0) + left * (b[p * n + j] ?? 0);
      }
    }
    return c;
  };
  const right = times((i, p) => factor[i * n + p] ?? 0, matrix);
  return times((i, p) => factor[p * n + i] ?? 0, right);
}

async function factorOf(device: Device, hessian: Floats, n: number, damping: number) {
  const { factor, status } = ops.inverseCholesky(device.from("f32", hessian, [n, n]), damping);
  return { factor: await factor.read(), status: (await status.read())[0] };
}

// Around the blocks of 128 and, with CUDA, 64.
const sizes = [1, 2, 3, 17, 63, 64, 65, 127, 128, 129, 255, 257, 300];
const cases = implementations.flatMap((isa) => sizes.map((n) => ({ isa, n })));

describe("inverseCholesky", () => {
  test.each(cases)("factors the inverse of a damped Hessian: $n on $isa", async ({ isa, n }) => {
    const hessian = hessianOf(n, n);
    await withDevice({ isa }, async (device) => {
      const { factor, status } = await factorOf(device, hessian, n, 0.01);
      expect(status).toBe(0);
      expect(factor.findIndex((value, i) => i % n < Math.floor(i / n) && value !== 0)).toBe(-1);
      const product = productWithInverse(factor, damped(hessian, n, 0.01), n);
      const identity = product.map((_, i) => (i % (n + 1) === 0 ? 1 : 0));
      // Row i of the product scales with row i of the inverse, column j with column j of the matrix: only the
      // condition number bounds their product.
      expectClose(product, identity, 4 * factorTolerance(hessian, n, 0.01), `n = ${n}`);
    });
  });

  const fast = cases.filter(({ isa }) => isa !== "scalar");

  test.each(fast)("agrees with the double-precision reference: $n on $isa", async ({ isa, n }) => {
    const hessian = hessianOf(n, 100 + n);
    const compute = (level: typeof isa) =>
      withDevice({ isa: level }, (device) => factorOf(device, hessian, n, 0.01));
    const expected = (await compute("scalar")).factor;
    const tolerance = 4 * factorTolerance(hessian, n, 0.01);
    const rowNorms = Array.from({ length: n }, (_, i) => norm(expected, i * n, n));
    expectClose(
      (await compute(isa)).factor,
      expected,
      (i) => tolerance * (rowNorms[Math.floor(i / n)] ?? 0),
    );
  });

  test.each(implementations)(
    "is the inverse square root of a diagonal matrix on %s",
    async (isa) => {
      const n = 140;
      const diagonal = Float32Array.from({ length: n }, (_, i) => 1 + i);
      const hessian = new Float32Array(n * n);
      diagonal.forEach((value, i) => {
        hessian[i * (n + 1)] = value;
      });
      await withDevice({ isa }, async (device) => {
        const { factor } = await factorOf(device, hessian, n, 0.5);
        const mean = (n + 1) / 2;
        const expected = factor.map((_, i) =>
          i % (n + 1) === 0 ? 1 / Math.sqrt(1 + Math.floor(i / n) + 0.5 * mean) : 0,
        );
        expectClose(factor, expected, 2 ** -22, "factor");
      });
    },
  );

  test.each(implementations)("reads only the upper triangle on %s", async (isa) => {
    const n = 150;
    const hessian = hessianOf(n, 9);
    const spoilt = hessian.map((value, i) => (i % n < Math.floor(i / n) ? Number.NaN : value));
    await withDevice({ isa }, async (device) => {
      const clean = await factorOf(device, hessian, n, 0.01);
      const other = await factorOf(device, spoilt, n, 0.01);
      expect(other.status).toBe(0);
      expectSameBits(other.factor, clean.factor);
    });
  });

  test.each(runnableIsas)("does not depend on the number of threads on %s", async (isa) => {
    const n = 400;
    const hessian = hessianOf(n, 5);
    const [one, three] = await Promise.all(
      [1, 3].map((threads) =>
        withDevice({ isa, threads }, (device) => factorOf(device, hessian, n, 0.01)),
      ),
    );
    expectSameBits(three?.factor as Floats, one?.factor as Floats);
  });

  const failures = implementations.flatMap((isa) =>
    [0, 5, 63, 64, 127, 128, 199].map((row) => ({ isa, row })),
  );

  test.each(failures)("reports pivot $row that is not positive on $isa", async ({ isa, row }) => {
    const n = 200;
    const hessian = new Float32Array(n * n);
    for (let i = 0; i < n; i++) hessian[i * (n + 1)] = i === row ? -1 : 1;
    await withDevice({ isa }, async (device) => {
      expect((await factorOf(device, hessian, n, 0)).status).toBe(row + 1);
      hessian[row * (n + 1)] = Number.NaN;
      expect((await factorOf(device, hessian, n, 0)).status).not.toBe(0);
      hessian.fill(0);
      expect((await factorOf(device, hessian, n, 0.01)).status).toBe(n);
    });
  });

  test.each(implementations)("accepts a matrix without elements on %s", async (isa) => {
    await withDevice({ isa }, async (device) => {
      expect((await factorOf(device, new Float32Array(0), 0, 0.01)).status).toBe(0);
    });
  });

  test("refuses a matrix that is not square", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const call = () => ops.inverseCholesky(device.empty("f32", [3, 4]), 0.01);
      expect(call).toThrow(expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }));
    });
  });
});
