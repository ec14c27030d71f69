import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { KernelError, MappedFile } from "../../kernels/index.ts";
import { openImplementation } from "../support/kernels.ts";

describe.each(["scalar", "cuda"] as const)("a device of %s", (implementation) => {
  const openDevice = ({ threads }: { threads: number }) =>
    openImplementation(implementation, { threads });

  test("reads back what was written, in stream order", async () => {
    using device = openDevice({ threads: 2 });
    using x = device.from("f32", Float32Array.of(1, 2, 3, 4), [2, 2]);
    const before = x.read();
    x.write(Float32Array.of(5, 6, 7, 8));
    expect(await before).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(await x.read()).toEqual(Float32Array.of(5, 6, 7, 8));
  });

  test("hands out the memory of a disposed tensor again at once", () => {
    using device = openDevice({ threads: 1 });
    for (let i = 0; i < 100; i++) device.empty("f32", [1 << 18])[Symbol.dispose]();
    expect(device.memory().peak).toBe(1 << 20);
  });

  test("a narrowed view keeps the memory of its disposed source", async () => {
    using device = openDevice({ threads: 1 });
    const x = device.from("i32", Int32Array.of(0, 1, 2, 3, 4, 5), [3, 2]);
    using rows = x.narrow(0, 1, 2);
    x[Symbol.dispose]();
    using other = device.zeros("i32", [3, 2]);
    expect(await rows.read()).toEqual(Int32Array.of(2, 3, 4, 5));
    expect(other.size(0)).toBe(3);
  });

  test("refuses use of a disposed tensor with the caller's stack", () => {
    using device = openDevice({ threads: 1 });
    const x = device.empty("f32", [4]);
    x[Symbol.dispose]();
    const misuse = () => x.reshape([2, 2]);
    expect(misuse).toThrow(expect.objectContaining({ name: "KernelError", code: "KERNEL_VALUE" }));
    try {
      misuse();
    } catch (error) {
      expect((error as KernelError).stack).toContain("device.test.ts");
    }
  });

  test.each([[[-1]], [[1.5]], [[2 ** 40, 2 ** 40]], [[1, 1, 1, 1, 1]]])(
    "refuses the shape %j",
    (shape) => {
      using device = openDevice({ threads: 1 });
      expect(() => device.empty("f32", shape)).toThrow(KernelError);
    },
  );

  test("reports a lack of memory as a typed error", () => {
    using device = openDevice({ threads: 1 });
    expect(() => device.empty("f32", [2 ** 46])).toThrow(
      expect.objectContaining({ code: "KERNEL_OUT_OF_MEMORY" }),
    );
  });

  test("refuses a narrow outside its tensor and values of the wrong length or type", () => {
    using device = openDevice({ threads: 1 });
    using x = device.empty("f32", [4, 2]);
    const shape = expect.objectContaining({ code: "KERNEL_SHAPE" });
    expect(() => x.narrow(0, 3, 2)).toThrow(shape);
    expect(() => x.narrow(2, 0, 1)).toThrow(shape);
    expect(() => x.write(new Float32Array(7))).toThrow(shape);
    expect(() => x.write(new Int32Array(8) as never)).toThrow(
      expect.objectContaining({ code: "KERNEL_DTYPE" }),
    );
  });

  test("a closed device refuses further work", () => {
    const device = openDevice({ threads: 1 });
    device[Symbol.dispose]();
    expect(() => device.empty("f32", [1])).toThrow(
      expect.objectContaining({ code: "KERNEL_DEVICE" }),
    );
  });

  test("maps tensors that lie beyond 4 GiB of a file, aligned or not", async () => {
    const dir = mkdtempSync(join(tmpdir(), "nibble-map-"));
    try {
      const path = join(dir, "sparse");
      const offset = 5 * 2 ** 30 + 1;
      const file = openSync(path, "w");
      ftruncateSync(file, offset + 8);
      writeSync(file, new Uint8Array(Int32Array.of(7, -9).buffer), 0, 8, offset);
      closeSync(file);
      using device = openDevice({ threads: 1 });
      using mapped = new MappedFile(path);
      using odd = mapped.tensor(device, offset, "i32", [2]);
      using bytes = mapped.tensor(device, offset, "u8", [8]);
      expect(await odd.read()).toEqual(Int32Array.of(7, -9));
      expect(new Int32Array((await bytes.read()).buffer)).toEqual(Int32Array.of(7, -9));
      const outside = expect.objectContaining({ code: "KERNEL_FILE" });
      expect(() => mapped.tensor(device, offset, "i32", [3])).toThrow(outside);
      expect(() => mapped.tensor(device, -4, "i32", [1])).toThrow(outside);
      expect(() => bytes.write(new Uint8Array(8))).toThrow(KernelError);
    } finally {
      rmSync(dir, { recursive: true });
    }
  });

  test("names a file that cannot be mapped", () => {
    const open = () => new MappedFile("/nonexistent/model.safetensors");
    expect(open).toThrow(expect.objectContaining({ code: "KERNEL_FILE" }));
    expect(open).toThrow(/model\.safetensors/);
  });
});
