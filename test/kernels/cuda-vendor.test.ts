// NVIDIA's libraries in the place of kernels, with stand-ins for them that compute on the host's memory what their documentation
// says: what is asked of them, and what becomes of the answer.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import {
  type CudaOptions,
  type Device,
  detectedIsa,
  openCudaDevice,
  ops,
} from "../../kernels/index.ts";
import { emulatedLibrary, isOnGpu, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";
import { factorTolerance } from "../support/solver.ts";
import { dotTolerance, eps, expectClose, norm } from "../support/tolerance.ts";

type Floats = Float32Array<ArrayBuffer>;

const dir = mkdtempSync(join(tmpdir(), "nibble-vendor-"));
const log = join(dir, "log");

// On a GPU the machine's own libraries are tried, if it has them: stand-ins would follow pointers to its memory.
const vendor = { cublasLt: standIn("cublaslt"), cusolver: standIn("cusolver") };
process.env["VENDOR_LOG"] = log;

function standIn(name: string): string {
  const source = fileURLToPath(new URL(`../support/vendor/${name}.c`, import.meta.url));
  const path = join(dir, `${name}.so`);
  execFileSync("cc", ["-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", path, source, "-lm"]);
  return path;
}

afterAll(() => rmSync(dir, { recursive: true }));
beforeEach(() => writeFileSync(log, ""));

/** What was asked of the stand-ins. */
function asked(): readonly string[] {
  return readFileSync(log, "utf8").split("\n").slice(0, -1);
}

function expectAsked(used: readonly string[], expected: readonly string[]): void {
  expect(used).toEqual(isOnGpu ? [] : expected);
}

/** @param trait  of the stand-ins meanwhile, see their sources */
async function withTrait<R>(trait: string, body: () => R | Promise<R>): Promise<R> {
  process.env[trait] = "1";
  try {
    return await body();
  } finally {
    delete process.env[trait];
  }
}

/** The same on the processor, on the emulated GPU with the libraries, and there where they refuse. */
async function onEach(compute: (device: Device) => Promise<Floats>) {
  const onGpu = () => withDevice({ isa: "cuda", vendor }, compute);
  const expected = await withDevice({ isa: detectedIsa() }, compute);
  const actual = await onGpu();
  const used = asked();
  return { expected, actual, used, refused: await withTrait("VENDOR_REFUSES", onGpu) };
}

function rowNorms(matrix: Floats, width: number): readonly number[] {
  return Array.from({ length: matrix.length / width }, (_, i) => norm(matrix, i * width, width));
}

function transposed(matrix: Floats, width: number): Floats {
  const height = matrix.length / width;
  return matrix.map((_, i) => matrix[(i % height) * width + Math.floor(i / height)] ?? 0);
}

describe("products by cuBLASLt on cuda", () => {
  test.skipIf(isOnGpu)("are named", () => {
    const named = (options: CudaOptions) => {
      using device = openCudaDevice({ library: emulatedLibrary, ...options });
      return device.vendorLibraries;
    };
    expect(named(vendor)).toBe("cuBLASLt 13.0.2, cuSOLVER 12.0.4");
    expect(named({ ...vendor, cublasLt: "off" })).toBe("cuSOLVER 12.0.4");
    expect(named({})).toBe("");
    // A library, but of something else.
    expect(named({ cublasLt: vendor.cusolver })).toBe("");
    expect(() => named({ cusolver: "/no/lib.so" })).toThrow(
      expect.objectContaining({
        code: "KERNEL_UNSUPPORTED",
        message: expect.stringContaining("/no/lib.so"),
      }),
    );
  });

  test("trailingUpdate", async () => {
    const [out, n, block] = [640, 1024, 128];
    const random = seeded(1);
    const [w, error, factor] = [
      normal(out * n, random),
      normal(out * block, random, { heavy: true }),
      normal(n * n, random),
    ];
    const { expected, actual, refused, used } = await onEach(async (device) => {
      using weight = device.from("f32", w, [out, n]);
      using errors = device.from("f32", error, [out, block]);
      using factors = device.from("f32", factor, [n, n]);
      ops.trailingUpdate(weight, errors, factors, 0);
      return await weight.read();
    });
    // The library sees its transpose, [columns, rows].
    expectAsked(used, [`product ${n - block} ${out} ${block}`]);
    const errorNorms = rowNorms(error, block);
    const factorNorms = rowNorms(transposed(factor.slice(0, block * n), n), block);
    const tolerance = (i: number) =>
      dotTolerance(block, errorNorms[Math.floor(i / n)] ?? 0, factorNorms[i % n] ?? 0) +
      2 * eps * Math.abs(w[i] ?? 0);
    expectClose(actual, expected, tolerance);
    expectClose(refused, expected, tolerance);
  });

  test.each([
    { rows: 300, n: 512, products: ["product 256 256 300", "product 256 512 300"] },
    {
      rows: 2100,
      n: 520,
      products: [...["product 256 256 2048", "product 256 512 2048", "product 8 520 2048"]],
    },
    // Rows that are no whole 16 bytes, and too little to be worth it.
    { rows: 300, n: 515, products: [] },
    { rows: 100, n: 512, products: [] },
  ])("accumulateGram of bf16: $rows × $n", async ({ rows, n, products }) => {
    const random = seeded(n);
    const [x, start] = [normal(rows * n, random, { heavy: true }), normal(n * n, random)];
    const upper = (matrix: Floats) =>
      matrix.map((value, i) => (i % n >= Math.floor(i / n) ? value : 0));
    const { expected, actual, refused, used } = await onEach(async (device) => {
      using gram = device.from("f32", start, [n, n]);
      using tensor = device.from("f32", x, [rows, n]);
      ops.accumulateGram(tensor, gram, "bf16");
      return upper(await gram.read());
    });
    expectAsked(used, products);
    const norms = rowNorms(transposed(x, n), rows);
    const tolerance = (i: number) =>
      dotTolerance(rows, norms[Math.floor(i / n)] ?? 0, norms[i % n] ?? 0) +
      (2 + Math.ceil(rows / 256)) * eps * Math.abs(start[i] ?? 0);
    expectClose(actual, expected, tolerance);
    expectClose(refused, expected, tolerance);
  });

  test.each(["f32", "bf16"] as const)("accumulateCross of %s", async (dtype) => {
    const [rows, m, n] = [280, 512, 640];
    const random = seeded(3);
    const [x, original, inputs] = [m, m, n].map((width) => normal(rows * width, random)) as [
      ...[Floats, Floats, Floats],
    ];
    const { expected, actual, refused, used } = await onEach(async (device) => {
      using cross = device.zeros("f32", [m, n]);
      using tensor = device.from("f32", x, [rows, m]);
      using meant = device.from("f32", original, [rows, m]);
      using by = device.from("f32", inputs, [rows, n]);
      ops.accumulateCross({ x: tensor, original: meant, inputs: by }, cross, dtype);
      return await cross.read();
    });
    expectAsked(used, [`product ${n} ${m} ${rows}`]);
    const differences = original.map((value, i) => value - (x[i] ?? 0));
    const left = rowNorms(transposed(differences, m), rows);
    const right = rowNorms(transposed(inputs, n), rows);
    const tolerance = (i: number) =>
      dotTolerance(rows, left[Math.floor(i / n)] ?? 0, right[i % n] ?? 0);
    expectClose(actual, expected, tolerance);
    expectClose(refused, expected, tolerance);
  });
});

describe("factors by cuSOLVER on cuda", () => {
  const hessianOf = (n: number): Floats => {
    const random = seeded(n);
    const x = normal((n + 32) * n, random);
    const hessian = new Float32Array(n * n);
    for (let i = 0; i < n; i++) {
      for (let j = i; j < n; j++) {
        let sum = 0;
        for (let row = 0; row < n + 32; row++) sum += (x[row * n + i] ?? 0) * (x[row * n + j] ?? 0);
        // Columns that differ in size.
        const scale = 10 ** (Math.sin(i * 1.7) + Math.sin(j * 1.7));
        hessian[i * n + j] = hessian[j * n + i] = (scale * sum) / n;
      }
    }
    return hessian;
  };

  const invert = (hessian: Floats, n: number) => async (device: Device) => {
    using matrix = device.from("f32", hessian, [n, n]);
    const { factor, status } = ops.inverseCholesky(matrix, 0.01);
    const [row = 0] = await status.read();
    // The status before the factor, which is undefined where there is one.
    const result = new Float32Array(1 + n * n);
    result[0] = row;
    if (row === 0) result.set(await factor.read(), 1);
    return result;
  };

  test.each([512, 577])("as this project's kernels: %i rows", async (n) => {
    const { expected, actual, refused, used } = await onEach(invert(hessianOf(n), n));
    expectAsked(used, [`factorization ${n}`]);
    expect(expected[0]).toBe(0);
    const tolerance = 4 * factorTolerance(hessianOf(n), n, 0.01);
    const norms = rowNorms(expected.slice(1), n);
    const allowed = (i: number) => tolerance * (norms[Math.floor((i - 1) / n)] ?? 0);
    expectClose(actual, expected, allowed);
    expectClose(refused, expected, allowed);
  });

  test.each([
    { at: [300, 400], value: 1e6, row: 300 },
    { at: [200, 300], value: Number.NaN, row: 200 },
  ] as const)("names the row whose pivot is no good: $value", async ({ at, value, row }) => {
    const n = 512;
    const hessian = hessianOf(n);
    hessian[at[0] * n + at[1]] = value;
    const { expected, actual, refused } = await onEach(invert(hessian, n));
    expect(expected[0]).toBe(row + 1);
    expect(actual[0]).toBe(row + 1);
    expect(refused[0]).toBe(row + 1);
  });

  test("does without what needs more memory than there is", async () => {
    const n = 512;
    const { expected, actual, used } = await withTrait("VENDOR_IS_GREEDY", () =>
      onEach(invert(hessianOf(n), n)),
    );
    expect(used).toEqual([]);
    expect(expected[0]).toBe(0);
    expect(actual[0]).toBe(0);
  });

  test.skipIf(isOnGpu)(
    "does not take a library that is known to count its memory wrong",
    async () => {
      await withTrait("VENDOR_IS_OLD", () => {
        using device = openCudaDevice({ library: emulatedLibrary, ...vendor });
        expect(device.vendorLibraries).toBe("cuBLASLt 13.0.2");
      });
    },
  );

  test("does not ask for a small one", async () => {
    const n = 200;
    await onEach(invert(hessianOf(n), n));
    expect(asked()).toEqual([]);
  });
});
