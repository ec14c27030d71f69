// Tensors of a mapped file that a GPU gets beside its operations; on the processor they are views as ever.

import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Device, MappedFile, ops, type Tensor } from "../../kernels/index.ts";
import { openImplementation } from "../support/kernels.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const path = join(work.path, "weights");
// Several times what is on its way at once.
const values = Float32Array.from({ length: 6_000_000 }, (_, i) => (i * 7919) % 1_000_003);
beforeAll(() => writeFileSync(path, values));

const isPrefetched = { isPrefetched: true } as const;

/** The elements from `begin` to `end` of a file of f32. */
function prefetch(device: Device, file: MappedFile, begin: number, end: number): Tensor<"f32"> {
  return file.tensor(device, 4 * begin, "f32", [1, end - begin], isPrefetched);
}

const doubled = (begin: number, end: number) =>
  values.subarray(begin, end).map((value) => value + value);

/** Equal, without a message as long as the tensors. */
function expectEqual(actual: Float32Array, expected: Float32Array): void {
  expect(actual.length).toBe(expected.length);
  expect(actual.findIndex((value, i) => value !== expected[i])).toBe(-1);
}

describe.each(["scalar", "cuda"] as const)("prefetched tensors of %s", (implementation) => {
  const open = () => openImplementation(implementation);

  test("are there for the first operation that uses them, and for a read", async () => {
    using device = open();
    using file = new MappedFile(path);
    using a = prefetch(device, file, 3, 1000);
    using b = prefetch(device, file, 3000, 4000);
    using sum = ops.add(a, a);
    expectEqual(await sum.read(), doubled(3, 1000));
    using view = b.narrow(1, 10, 20);
    expectEqual(await view.read(), values.subarray(3010, 3030));
  });

  test("come whole and in any order of use, however many and large they are", async () => {
    using device = open();
    using file = new MappedFile(path);
    // Chunks have 2¹⁸ elements, and there are 16 of them.
    const lengths = [0, 1, 1 << 18, (1 << 18) + 1, 900_000, ...Array(40).fill(777), 4_500_000];
    const begins = lengths.map((_, i) => lengths.slice(0, i).reduce((sum, each) => sum + each, 0));
    const ranges = lengths.map((length, i) => [begins[i] ?? 0, (begins[i] ?? 0) + length] as const);
    const tensors = ranges.map(([from, to]) => prefetch(device, file, from, to));
    for (const i of [20, 44, 3, 45, 1, 4, 2, 0]) {
      using copy = ops.copy(tensors[i] ?? device.empty("f32", [1, 1]));
      const [from = 0, to = 0] = ranges[i] ?? [];
      expectEqual(await copy.read(), values.subarray(from, to));
    }
    for (const tensor of tensors) tensor[Symbol.dispose]();
  });

  test("that nobody used leave their memory to others", async () => {
    using device = open();
    using file = new MappedFile(path);
    const length = 1 << 16;
    const others = Array.from({ length: 30 }, (_, i) => {
      const unused = [0, 1].map((j) => prefetch(device, file, i + j, i + j + length));
      for (const tensor of unused) tensor[Symbol.dispose]();
      return [device.zeros("f32", [1, length]), prefetch(device, file, i, i + 9)] as const;
    });
    for (const [i, [zeros, used]] of others.entries()) {
      expectEqual(await used.read(), values.subarray(i, i + 9));
      expectEqual(await zeros.read(), new Float32Array(length));
      zeros[Symbol.dispose]();
      used[Symbol.dispose]();
    }
  });

  test("get memory that operations called before may still use", async () => {
    using device = open();
    using file = new MappedFile(path);
    const length = 1 << 16;
    const sums = Array.from({ length: 10 }, (_, i) => {
      using x = prefetch(device, file, i, i + length);
      using y = ops.add(x, x);
      return ops.add(y, y);
    });
    for (const [i, sum] of sums.entries()) {
      expectEqual(
        await sum.read(),
        doubled(i, i + length).map((value) => value + value),
      );
      sum[Symbol.dispose]();
    }
  });

  test("keep their file", async () => {
    using device = open();
    const file = new MappedFile(path);
    using tensor = prefetch(device, file, 0, 1_000_000);
    file.evict(device, 0, 4 * values.length);
    file[Symbol.dispose]();
    using sum = ops.add(tensor, tensor);
    expectEqual(await sum.read(), doubled(0, 1_000_000));
  });

  test("may be on their way when their device is closed", () => {
    for (let i = 0; i < 4; i++) {
      const device = open();
      const file = new MappedFile(path);
      const tensors = [0, 1].map((j) => prefetch(device, file, j, j + 1_000_000));
      if (i % 2 === 0) tensors[0]?.[Symbol.dispose]();
      device[Symbol.dispose]();
      file[Symbol.dispose]();
      for (const tensor of tensors) tensor[Symbol.dispose]();
    }
  });

  test("of a file that became shorter fault the device when they are used, and only then", async () => {
    const short = join(work.path, `short-${implementation}`);
    writeFileSync(short, values.subarray(0, 1 << 16));
    using device = open();
    using file = new MappedFile(short);
    truncateSync(short, 4096);
    using tensor = prefetch(device, file, 1 << 12, 1 << 14);
    await device.sync();
    using sum = ops.add(tensor, tensor);
    const lost = {
      code: "KERNEL_FILE",
      message: expect.stringContaining(`${short}: became shorter`),
    };
    await expect(sum.read()).rejects.toMatchObject(lost);
    await expect(device.sync()).rejects.toMatchObject(lost);
    // Neither asked for nor waited for any more.
    using later = prefetch(device, file, 0, 100);
    await expect(later.read()).rejects.toMatchObject(lost);
  });

  test("may be captured, before they are there and within the capture", async () => {
    using device = open();
    using file = new MappedFile(path);
    const before = prefetch(device, file, 0, 600_000);
    const { graph, result } = device.capture(() => {
      using within = prefetch(device, file, 5, 600_005);
      return ops.add(before, within);
    });
    before[Symbol.dispose]();
    const expected = values.subarray(0, 600_000).map((value, i) => value + (values[i + 5] ?? 0));
    for (let i = 0; i < 3; i++) {
      using _other = prefetch(device, file, i, 300_000);
      graph.replay();
      expectEqual(await result.read(), expected);
    }
    graph[Symbol.dispose]();
    result[Symbol.dispose]();
  });

  test("that are to stay on the host do", async () => {
    using device = open();
    using file = new MappedFile(path);
    const before = device.memory().live;
    using tensor = file.tensor(device, 8, "f32", [100], { ...isPrefetched, staysOnHost: true });
    expect(device.memory().live).toBe(before);
    expectEqual(await tensor.read(), values.subarray(2, 102));
  });
});
