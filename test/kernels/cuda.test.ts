import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { cudaDevices, openCudaDevice, openDevice, ops } from "../../kernels/index.ts";
import { openImplementation } from "../support/kernels.ts";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "nibble-cuda-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

/** A shared library of C source. */
function library(name: string, source: string): string {
  const path = join(dir, name);
  writeFileSync(`${path}.c`, source);
  execFileSync("cc", ["-shared", "-fPIC", "-o", path, `${path}.c`]);
  return path;
}

function unsupported(message: RegExp): unknown {
  return expect.objectContaining({
    name: "KernelError",
    code: "KERNEL_UNSUPPORTED",
    message: expect.stringMatching(message),
  });
}

describe("a library of CUDA kernels is refused", () => {
  const refuse = (path: string, message: RegExp) => {
    expect(() => openCudaDevice({ library: path })).toThrow(unsupported(message));
    expect(() => cudaDevices(path)).toThrow(unsupported(message));
    // What does not touch it works as ever.
    using device = openDevice({ threads: 1 });
    expect(device.kind).toBe("cpu");
  };

  test("where there is none", () => {
    refuse(join(dir, "missing.so"), /npm run build:cuda.*missing\.so/);
  });

  test("that is no library, or a truncated one", () => {
    const path = join(dir, "text.so");
    writeFileSync(path, "no library");
    refuse(path, /text\.so/);
    writeFileSync(path, Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1, 1));
    refuse(path, /text\.so/);
  });

  test("that needs what this machine has not", () => {
    refuse(
      library("needy.so", "int missing_function(void); int f(void) { return missing_function(); }"),
      /missing_function|no library of CUDA kernels/,
    );
  });

  test("that is another's", () => {
    refuse(
      library("foreign.so", "int f(void) { return 1; }"),
      /foreign\.so: is no library of CUDA kernels/,
    );
  });

  test.each([
    ["an old one", "99, 8"],
    ["one whose table has another size", "1, 8"],
  ])("that is %s", (_, table) => {
    const source = `const unsigned* NibbleCudaBackend(void) { static unsigned t[64] = {${table}}; return t; }`;
    refuse(
      library(`version-${table.length}${table[0]}.so`, source),
      /another version.*npm run build:cuda/,
    );
  });

  test("that has no table", () => {
    refuse(library("null.so", "void* NibbleCudaBackend(void) { return 0; }"), /another version/);
  });
});

describe("a GPU", () => {
  test("is described and opened by its number", () => {
    using device = openImplementation("cuda");
    expect(device.kind).toBe("cuda");
  });

  test("reports what a kernel found in its data at the next wait, and no operation runs after it", async () => {
    using device = openImplementation("cuda");
    using table = device.from("f32", Float32Array.of(1, 2, 3, 4), [2, 2]);
    using ids = device.from("i32", Int32Array.of(0, 2));
    using y = ops.embedding(table, ids);
    await expect(y.read()).rejects.toThrow(/embedding: ids\[1\] is 2; expected 0 to 1/);
    await expect(device.sync()).rejects.toThrow(/ids\[1\]/);
  });

  test("refuses tensors of another device", () => {
    using gpu = openImplementation("cuda");
    using cpu = openDevice({ threads: 1 });
    using x = gpu.from("f32", Float32Array.of(1, 2), [1, 2]);
    using weight = cpu.from("f32", Float32Array.of(1, 2));
    expect(() => ops.rmsNorm(x, weight, 1e-6)).toThrow(/another device/);
  });

  test("hands memory back to the GPU where a new tensor needs what is kept for reuse", () => {
    using device = openImplementation("cuda");
    for (const gibibytes of [9, 10, 11, 12]) {
      device.empty("u8", [gibibytes * 2 ** 20])[Symbol.dispose]();
    }
    expect(() => device.empty("u8", [2 ** 40])).toThrow(
      expect.objectContaining({ code: "KERNEL_OUT_OF_MEMORY" }),
    );
    using small = device.empty("u8", [1024]);
    expect(small.size(0)).toBe(1024);
  });
});
