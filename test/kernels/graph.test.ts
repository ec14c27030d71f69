import { describe, expect, test } from "vitest";
import { ops } from "../../kernels/index.ts";
import { openImplementation } from "../support/kernels.ts";

const row = (...values: number[]) => Float32Array.from(values);

describe.each(["scalar", "cuda"] as const)("graphs of %s", (implementation) => {
  const openDevice = ({ threads }: { threads: number }) =>
    openImplementation(implementation, { threads });

  test("captured operations run when they are replayed, on what their tensors hold by then", async () => {
    using device = openDevice({ threads: 2 });
    const x = device.from("f32", row(1, 2), [1, 2]);
    const { graph, result } = device.capture(() => ops.add(ops.add(x, x), x));
    graph.replay();
    expect(await result.read()).toEqual(row(3, 6));
    x.write(row(5, 7));
    graph.replay();
    expect(await result.read()).toEqual(row(15, 21));
    graph[Symbol.dispose]();
  });

  test("a graph keeps the memory that its operations use from other tensors", async () => {
    using device = openDevice({ threads: 1 });
    const x = device.from("f32", row(1, 2, 3), [1, 3]);
    const { graph, result } = device.capture(() => {
      using doubled = ops.add(x, x);
      using source = device.from("f32", row(10, 20, 30), [1, 3]);
      return ops.add(doubled, source);
    });
    x[Symbol.dispose]();
    const others = Array.from({ length: 50 }, () => device.from("f32", row(-1, -1, -1), [1, 3]));
    graph.replay();
    expect(await result.read()).toEqual(row(12, 24, 36));
    for (const other of others) expect(await other.read()).toEqual(row(-1, -1, -1));
    const held = device.memory().live;
    result[Symbol.dispose]();
    graph[Symbol.dispose]();
    expect(device.memory().live).toBeLessThan(held);
  });

  test("memory that is given up in a capture serves what comes later in it, and nobody else", async () => {
    using device = openDevice({ threads: 1 });
    const width = 1 << 16;
    const x = device.from("f32", new Float32Array(width).fill(1), [1, width]);
    const before = device.memory().live;
    const { graph, result } = device.capture(() => {
      // A chain of sums, each of which is needed for the next only.
      let sum = ops.add(x, x);
      for (let i = 0; i < 20; i++) {
        using last = sum;
        sum = ops.add(last, x);
      }
      return sum;
    });
    expect(device.memory().live - before).toBeLessThanOrEqual(2 * 4 * width);
    const others = Array.from({ length: 8 }, () =>
      device.from("f32", new Float32Array(width).fill(-1), [1, width]),
    );
    for (let i = 0; i < 3; i++) graph.replay();
    expect((await result.read()).every((value) => value === 22)).toBe(true);
    for (const other of others) {
      expect((await other.read()).every((value) => value === -1)).toBe(true);
      other[Symbol.dispose]();
    }
    // What is only the graph's is held until that goes.
    result[Symbol.dispose]();
    expect(device.memory().live - before).toBe(2 * 4 * width);
    graph[Symbol.dispose]();
    expect(device.memory().live).toBe(before);
  });

  test("memory of what no operation used is the graph's as well", async () => {
    using device = openDevice({ threads: 1 });
    const width = 1 << 16;
    const x = device.from("f32", new Float32Array(width).fill(1), [1, width]);
    const { graph, result } = device.capture(() => {
      ops.add(x, x)[Symbol.dispose]();
      return device.empty("f32", [1, width]);
    });
    result[Symbol.dispose]();
    const others = Array.from({ length: 4 }, () =>
      device.from("f32", new Float32Array(width).fill(-1), [1, width]),
    );
    graph.replay();
    for (const other of others) {
      expect((await other.read()).every((value) => value === -1)).toBe(true);
    }
  });

  test("a graph within another is given the memory it was captured with", async () => {
    using device = openDevice({ threads: 1 });
    const x = device.from("f32", row(1, 2, 3), [1, 3]);
    const inner = device.capture(() => {
      using doubled = ops.add(x, x);
      return ops.add(doubled, x);
    });
    const outer = device.capture(() => {
      inner.graph.replay();
      return ops.add(inner.result, x);
    });
    inner.graph[Symbol.dispose]();
    const others = Array.from({ length: 50 }, () => device.from("f32", row(-1, -1, -1), [1, 3]));
    outer.graph.replay();
    expect(await outer.result.read()).toEqual(row(4, 8, 12));
    for (const other of others) expect(await other.read()).toEqual(row(-1, -1, -1));
  });

  test("replays stand in the order of calls", async () => {
    using device = openDevice({ threads: 2 });
    const x = device.from("f32", row(1), [1, 1]);
    const { graph, result } = device.capture(() => ops.add(x, x));
    const seen: Promise<Float32Array>[] = [];
    for (let i = 1; i <= 20; i++) {
      x.write(row(i));
      graph.replay();
      seen.push(result.read());
    }
    expect((await Promise.all(seen)).map(([value]) => value)).toEqual(
      Array.from({ length: 20 }, (_, i) => 2 * (i + 1)),
    );
  });

  test("a capture that fails leaves the device as it was", async () => {
    using device = openDevice({ threads: 1 });
    const x = device.from("f32", row(1, 2), [1, 2]);
    expect(() =>
      device.capture(() => {
        ops.add(x, x);
        throw new RangeError("stop");
      }),
    ).toThrow(RangeError);
    expect(await ops.add(x, x).read()).toEqual(row(2, 4));
  });

  test("a capture can neither wait nor contain another, and a disposed graph does not run", async () => {
    using device = openDevice({ threads: 1 });
    const x = device.from("f32", row(1), [1, 1]);
    let wait: Promise<unknown> = Promise.resolve();
    device.capture(() => {
      wait = x.read();
      wait.catch(() => {});
    });
    await expect(wait).rejects.toMatchObject({ name: "KernelError", code: "KERNEL_VALUE" });
    const nested = () => device.capture(() => device.capture(() => {}));
    expect(nested).toThrow(expect.objectContaining({ code: "KERNEL_VALUE" }));
    const { graph } = device.capture(() => ops.add(x, x));
    graph[Symbol.dispose]();
    expect(() => graph.replay()).toThrow(expect.objectContaining({ code: "KERNEL_VALUE" }));
  });

  test("an operation that faults when replayed faults the device", async () => {
    const run = async () => {
      using device = openDevice({ threads: 1 });
      const table = device.from("f32", row(1, 2), [2, 1]);
      const ids = device.from("i32", Int32Array.of(0));
      const { graph, result } = device.capture(() => ops.embedding(table, ids));
      ids.write(Int32Array.of(5));
      graph.replay();
      await result.read();
    };
    await expect(run()).rejects.toMatchObject({ name: "KernelError", code: "KERNEL_VALUE" });
  });
});
