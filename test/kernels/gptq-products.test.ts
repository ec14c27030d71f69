// The parts of GPTQ that are matrix products, and with them the tiled product itself.
import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { type Implementation, implementations, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { dotTolerance, eps, expectClose, expectSameBits, norm } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;
type Update = {
  isa: Implementation;
  threads?: number;
  out: number;
  n: number;
  begin: number;
  block: number;
};

function updateInput({ out, n, block }: Update) {
  const random = seeded(out * 7 + n);
  return {
    w: normal(out * (n + 2), random),
    error: normal(out * block, random, { heavy: true }),
    factor: normal(n * n, random),
  };
}

/** Returns all of the buffer of which the weight is columns 1 .. n. */
async function update(at: Update, input: ReturnType<typeof updateInput>, rows = at.out) {
  return await withDevice(at, async (device) => {
    const whole = device.from("f32", input.w.slice(0, rows * (at.n + 2)), [rows, at.n + 2]);
    const error = device.from("f32", input.error.slice(0, rows * at.block), [rows, at.block]);
    const factor = device.from("f32", input.factor, [at.n, at.n]);
    ops.trailingUpdate(whole.narrow(1, 1, at.n), error, factor, at.begin);
    return await whole.read();
  });
}

// Around the register tiles (6, 12, 16, 32), the tiles (192, 512) and the depth (256).
const shapes = [
  [0, 8, 0, 4],
  [1, 2, 0, 1],
  [1, 33, 0, 32],
  [5, 17, 3, 7],
  [6, 40, 0, 8],
  [7, 41, 8, 16],
  [11, 65, 0, 1],
  [12, 64, 0, 32],
  [13, 97, 1, 63],
  [193, 50, 16, 16],
  [3, 700, 0, 128],
  [3, 600, 2, 257],
  [4, 9, 5, 4],
  [4, 9, 2, 0],
] as const;
const updates = implementations.flatMap((isa) =>
  shapes.map(([out, n, begin, block]) => ({ isa, out, n, begin, block })),
);

describe("trailingUpdate", () => {
  test.each(updates)(
    "subtracts error · factor right of the block only: $out × $n, $begin + $block, $isa",
    async (at) => {
      const { n, begin, block } = at;
      const input = updateInput(at);
      const actual = await update(at, input);
      const tolerances = new Float64Array(actual.length);
      const expected = input.w.map((value, i) => {
        const [row, j] = [Math.floor(i / (n + 2)), (i % (n + 2)) - 1];
        if (j < begin + block || j >= n) return value;
        let sum = 0;
        let squares = 0;
        for (let p = 0; p < block; p++) {
          const right = input.factor[(begin + p) * n + j] ?? 0;
          sum += (input.error[row * block + p] ?? 0) * right;
          squares += right * right;
        }
        const product = dotTolerance(
          block,
          norm(input.error, row * block, block),
          Math.sqrt(squares),
        );
        tolerances[i] = product + (1 + Math.ceil(block / 256)) * eps * Math.abs(value);
        return value - sum;
      });
      expectClose(actual, expected, (i) => tolerances[i] ?? 0);
    },
  );

  test.each(implementations)("depends on neither threads nor other rows on %s", async (isa) => {
    const at = { isa, threads: 1, out: 211, n: 300, begin: 16, block: 32 };
    const input = updateInput(at);
    const expected = await update(at, input);
    expectSameBits(await update({ ...at, threads: 3 }, input), expected, "3 threads");
    for (const rows of [1, 5, 13]) {
      const alone = await update(at, input, rows);
      expectSameBits(alone, expected.slice(0, alone.length), `${rows} rows`);
    }
  });

  test.each([
    [5, 4],
    [-1, 4],
    [9, 1],
  ])("refuses block %i + %i of 8 columns", async (begin, block) => {
    await withDevice({ isa: "scalar" }, async (device) => {
      const tensor = (rows: number, columns: number) => device.zeros("f32", [rows, columns]);
      const call = () => ops.trailingUpdate(tensor(2, 8), tensor(2, block), tensor(8, 8), begin);
      expect(call).toThrow(expect.objectContaining({ name: "KernelError", code: "KERNEL_VALUE" }));
    });
  });
});

describe("quadraticForm", () => {
  const sizes = [
    [0, 3],
    [1, 1],
    [2, 3],
    [5, 17],
    [17, 33],
    [195, 20],
    [3, 300],
  ] as const;
  const cases = implementations.flatMap((isa) =>
    sizes.flatMap(([out, n]) => [true, false].map((subtract) => ({ isa, out, n, subtract }))),
  );

  function form(d: Floats, hessian: Floats, n: number): Floats {
    const y = new Float32Array(d.length / n);
    for (let row = 0; row < y.length; row++) {
      let sum = 0;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          sum += (d[row * n + i] ?? 0) * (hessian[i * n + j] ?? 0) * (d[row * n + j] ?? 0);
        }
      }
      y[row] = sum;
    }
    return y;
  }

  test.each(cases)("is d·H·dᵀ per row: $out × $n, difference $subtract, $isa", async (at) => {
    const { out, n } = at;
    const random = seeded(n);
    const a = normal(out * n, random, { heavy: true });
    const b = at.subtract ? normal(out * n, random) : new Float32Array(out * n);
    const half = normal(n * n, random);
    const hessian = half.map((value, i) => value + (half[(i % n) * n + Math.floor(i / n)] ?? 0));
    const d = a.map((value, i) => value - (b[i] ?? 0));
    const hessianNorm = norm(hessian);
    await withDevice({ isa: at.isa }, async (device) => {
      const second = at.subtract ? device.from("f32", b, [out, n]) : undefined;
      const y = ops.quadraticForm(
        device.from("f32", a, [out, n]),
        second,
        device.from("f32", hessian, [n, n]),
      );
      // d·(H dᵀ): the products are f32 dot products, their error meets d once more; two roundings per 256.
      expectClose(await y.read(), form(d, hessian, n), (row) => {
        const length = norm(d, row * n, n);
        return dotTolerance(n + 2, length * length, hessianNorm);
      });
    });
  });
});

describe("accumulateSquares", () => {
  test.each(implementations)(
    "adds squares of differences, or of values, by row on %s",
    async (isa) => {
      await withDevice({ isa }, async (device) => {
        const [rows, n] = [300, 77];
        const random = seeded(8);
        const [a, b] = [normal(rows * n, random), normal(rows * n, random)];
        const start = normal(rows, random);
        const y = device.from("f32", start);
        const [left, right] = [device.from("f32", a, [rows, n]), device.from("f32", b, [rows, n])];
        ops.accumulateSquares(left, right, y);
        ops.accumulateSquares(right.narrow(1, 3, 20), undefined, y);
        const expected = start.map((value, row) => {
          let sum = value;
          for (let j = 0; j < n; j++) sum += Math.fround(a[row * n + j]! - b[row * n + j]!) ** 2;
          for (let j = 3; j < 23; j++) sum += b[row * n + j]! ** 2;
          return sum;
        });
        expectClose(await y.read(), expected, (i) => 4 * eps * Math.abs(expected[i]!) + 4 * eps);
      });
    },
  );
});
