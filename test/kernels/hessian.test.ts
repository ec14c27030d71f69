import { describe, expect, test } from "vitest";
import { type Device, ops } from "../../kernels/index.ts";
import {
  fromBf16,
  type Implementation,
  implementations,
  levelsOf,
  runnableIsas,
  toBf16,
  withDevice,
} from "../support/kernels.ts";
import { integers, normal, seeded } from "../support/random.ts";
import { dotTolerance, eps, expectClose, expectSameBits, norm } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;

// What has one implementation for all processors.
const plain = ["scalar", "cuda"] as const satisfies readonly Implementation[];

// Around the register tiles (6, 12, 16, 32), the tiles (192, 512; with CUDA 64, 128, 256), the depth (256) and the row chunk (2048).
const shapes = [
  [0, 5],
  [1, 1],
  [3, 2],
  [2, 13],
  [17, 16],
  [5, 33],
  [257, 31],
  [64, 97],
  [2049, 12],
  [40, 193],
  [9, 530],
  [3, 650],
] as const;

const cases = (["f32", "bf16"] as const).flatMap((dtype) =>
  [...levelsOf(dtype === "f32" ? "gemm" : "gemmBf16"), "cuda" as const].flatMap((isa) =>
    shapes.map(([rows, n]) => ({ isa, rows, n, dtype })),
  ),
);

/** x [rows, n] as a view of wider rows, whose other columns are NaN. */
function stridedInput(device: Device, x: Floats, rows: number, n: number) {
  const wide = new Float32Array(rows * (n + 3)).fill(Number.NaN);
  for (let row = 0; row < rows; row++) {
    wide.set(x.subarray(row * n, (row + 1) * n), row * (n + 3) + 2);
  }
  return device.from("f32", wide, [rows, n + 3]).narrow(1, 2, n);
}

async function gramOf(
  device: Device,
  x: Floats,
  start: Floats,
  { rows, n, dtype = "f32" }: { rows: number; n: number; dtype?: "f32" | "bf16" },
) {
  const gram = device.from("f32", start, [n, n]);
  ops.accumulateGram(stridedInput(device, x, rows, n), gram, dtype);
  return upper(await gram.read(), n);
}

function upper(matrix: Floats, n: number): Floats {
  return matrix.map((value, i) => (i % n >= Math.floor(i / n) ? value : 0));
}

function column(x: Floats, n: number, j: number): Floats {
  return x.filter((_, i) => i % n === j);
}

describe("accumulateGram", () => {
  test.each(cases)("adds the products of all columns: $rows × $n of $dtype on $isa", async (at) => {
    const { rows, n } = at;
    const random = seeded(rows * 1000 + n);
    const x = normal(rows * n, random, { heavy: true });
    const start = normal(n * n, random);
    const seen = at.dtype === "f32" ? x : fromBf16(toBf16(x));
    const columns = Array.from({ length: n }, (_, j) => column(seen, n, j));
    const norms = columns.map((values) => norm(values));
    const expected = start.map((value, i) => {
      const a = columns[Math.floor(i / n)] as Floats;
      const b = columns[i % n] as Floats;
      return a.reduce((sum, element, p) => sum + element * (b[p] ?? 0), value);
    });
    await withDevice({ isa: at.isa }, async (device) => {
      const actual = await gramOf(device, x, start, at);
      const tolerance = (i: number) =>
        dotTolerance(rows, norms[Math.floor(i / n)] ?? 0, norms[i % n] ?? 0) +
        (1 + Math.ceil(rows / 256)) * eps * Math.abs(start[i] ?? 0);
      expectClose(actual, upper(expected, n), tolerance, `${rows} × ${n}`);
    });
  });

  test.each(runnableIsas)("does not depend on the number of threads on %s", async (isa) => {
    const [rows, n] = [300, 413];
    const random = seeded(3);
    const x = normal(rows * n, random, { heavy: true });
    const start = normal(n * n, random);
    const results = await Promise.all(
      [1, 2, 3].map((threads) =>
        withDevice({ isa, threads }, (device) => gramOf(device, x, start, { rows, n })),
      ),
    );
    expectSameBits(results[1] as Floats, results[0] as Floats, "2 threads");
    expectSameBits(results[2] as Floats, results[0] as Floats, "3 threads");
  });

  test.each(implementations)("keeps a NaN or infinity to its own column on %s", async (isa) => {
    const n = 21;
    const x = new Float32Array(4 * n).fill(1);
    x[n + 7] = Number.NaN;
    x[2 * n + 12] = Number.POSITIVE_INFINITY;
    await withDevice({ isa }, async (device) => {
      const actual = await gramOf(device, x, new Float32Array(n * n), { rows: 4, n });
      for (let i = 0; i < n * n; i++) {
        const pair = [Math.floor(i / n), i % n];
        if (i % n < Math.floor(i / n)) continue;
        if (pair.includes(7)) expect(actual[i], `${pair}`).toBeNaN();
        else expect(actual[i], `${pair}`).toBe(pair.includes(12) ? Number.POSITIVE_INFINITY : 4);
      }
    });
  });

  test("refuses a gram matrix of another size", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const call = () =>
        ops.accumulateGram(device.empty("f32", [2, 3]), device.empty("f32", [2, 2]));
      expect(call).toThrow(expect.objectContaining({ name: "KernelError", code: "KERNEL_SHAPE" }));
    });
  });
});

describe.each(plain)("finishHessian on %s", (isa) => {
  test.each([1, 2, 63, 64, 65, 150])(
    "scales, mirrors and reports the diagonal of size %i, touching nothing around it",
    async (n) => {
      const random = seeded(n);
      const gram = normal((n + 2) * n, random);
      const seen = gram.slice(n, n + n * n);
      seen[0] = 0;
      gram.set(seen, n);
      await withDevice({ isa }, async (device) => {
        const whole = device.from("f32", gram, [n + 2, n]);
        const diagonal = await ops.finishHessian(whole.narrow(0, 1, n), 0.37).read();
        const after = await whole.read();
        const expected = gram.map((value, i) => {
          const row = Math.floor(i / n) - 1;
          if (row < 0 || row >= n) return value;
          const [low, high] = [Math.min(row, i % n), Math.max(row, i % n)];
          return i === n ? 1 : (seen[low * n + high] ?? 0) * Math.fround(0.37);
        });
        expectSameBits(after, expected, "hessian");
        const scaled = diagonal.map((_, i) => (seen[i * (n + 1)] ?? 0) * Math.fround(0.37));
        expectSameBits(diagonal, scaled, "diagonal");
      });
    },
  );
});

describe("accumulateCross", () => {
  test.each(cases)("adds differences by inputs: $rows × $n of $dtype on $isa", async (at) => {
    const { rows, n, dtype } = at;
    const round = (x: Floats) => (dtype === "bf16" ? fromBf16(toBf16(x)) : x);
    const random = seeded(rows + n);
    const x = normal(rows * n, random);
    const original = x.map((value) => Math.fround(value + 0.1 * random()));
    const start = normal(n * n, random);
    const actual = await withDevice({ isa: at.isa }, async (device) => {
      const cross = device.from("f32", start, [n, n]);
      const sides = {
        x: stridedInput(device, x, rows, n),
        original: stridedInput(device, original, rows, n),
      };
      ops.accumulateCross(sides, cross, dtype);
      return await cross.read();
    });
    const inputs = round(x);
    const differences = round(x.map((value, i) => (original[i] ?? 0) - value));
    const columns = (m: Floats): readonly Floats[] =>
      Array.from({ length: n }, (_, j) => column(m, n, j));
    const [left, right] = [columns(differences), columns(inputs)];
    const expected = start.map((value, i) => {
      const [a, b] = [left[Math.floor(i / n)], right[i % n]];
      let sum = value;
      for (let row = 0; row < rows; row++) sum += (a?.[row] ?? 0) * (b?.[row] ?? 0);
      return sum;
    });
    const bound = (i: number) => {
      const [a, b] = [left[Math.floor(i / n)] ?? [], right[i % n] ?? []];
      return dotTolerance(rows, norm(a), norm(b)) + 2 * eps * Math.abs(start[i] ?? 0);
    };
    expectClose(actual, expected, bound);
  });

  // More tiles down than CUDA's blocks go through at once.
  test.each(plain.flatMap((isa) => (["f32", "bf16"] as const).map((dtype) => ({ isa, dtype }))))(
    "takes other inputs, of another width: $dtype on $isa",
    async ({ isa, dtype }) => {
      const [rows, m, n] = [5, 2100, 3];
      const random = seeded(7);
      // Small integers: every sum is exact.
      const values = (count: number) => Float32Array.from(integers(count, 9, random), (v) => v - 4);
      const [x, original, inputs, start] = [rows * m, rows * m, rows * n, m * n].map(values) as [
        ...[Floats, Floats, Floats, Floats],
      ];
      await withDevice({ isa }, async (device) => {
        const cross = device.from("f32", start, [m, n]);
        const sides = {
          x: device.from("f32", x, [rows, m]),
          original: stridedInput(device, original, rows, m),
          inputs: stridedInput(device, inputs, rows, n),
        };
        ops.accumulateCross(sides, cross, dtype);
        const expected = start.map((value, i) => {
          const [a, b] = [Math.floor(i / n), i % n];
          let sum = value;
          for (let row = 0; row < rows; row++) {
            const difference = (original[row * m + a] ?? 0) - (x[row * m + a] ?? 0);
            sum += difference * (inputs[row * n + b] ?? 0);
          }
          return sum;
        });
        expectClose(await cross.read(), expected, 0);
      });
    },
  );

  test("checks shapes", async () => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const of = (...shape: number[]) => device.zeros("f32", shape);
      const sides = { x: of(3, 4), original: of(2, 4) };
      expect(() => ops.accumulateCross(sides, of(4, 4))).toThrow(/original/);
      expect(() => ops.accumulateCross({ ...sides, original: of(3, 4) }, of(4, 5))).toThrow(
        /cross/,
      );
    });
  });
});

test.each(plain)("sums and finishing accept matrices without elements on %s", async (isa) => {
  await withDevice({ isa }, async (device) => {
    const none = device.zeros("f32", [0, 0]);
    const x = device.zeros("f32", [3, 0]);
    for (const dtype of ["f32", "bf16"] as const) {
      ops.accumulateGram(x, none, dtype);
      ops.accumulateCross({ x, original: x }, none, dtype);
    }
    expect(await ops.finishHessian(none, 1).read()).toHaveLength(0);
    ops.scaleAndShift(none, 2, 1);
  });
});

test.each(plain)("scaleAndShift scales a matrix and adds to its diagonal on %s", async (isa) => {
  await withDevice({ isa }, async (device) => {
    const matrix = device.from("f32", Float32Array.of(1, 2, 3, 4), [2, 2]);
    ops.scaleAndShift(matrix, 0.5, 10);
    expect(await matrix.read()).toEqual(Float32Array.of(10.5, 1, 1.5, 12));
    const wide = device.from("f32", new Float32Array(2 * 1100).fill(3), [2, 1100]);
    ops.scaleAndShift(wide, 0.5, 0);
    expect(await wide.read()).toEqual(new Float32Array(2 * 1100).fill(1.5));
    expect(() => ops.scaleAndShift(device.zeros("f32", [2, 3]), 1, 1)).toThrow(/matrix/);
  });
});
