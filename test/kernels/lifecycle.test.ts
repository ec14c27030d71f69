import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { addonPath } from "../../kernels/addon-path.ts";
import { KernelError, MappedFile, openDevice, ops } from "../../kernels/index.ts";

const refused = expect.objectContaining({ name: "KernelError", code: "KERNEL_VALUE" });

// What a process of its own runs: the addon, and a device with seconds of work in its queue.
const busy = `
  const addon = require(${JSON.stringify(addonPath)});
  const device = addon.openDevice(2, "scalar");
  const shape = Float64Array.of(512, 512);
  const tensor = () => addon.allocate(device, "f32", shape);
  const weight = tensor();
  addon.clear(weight);
  let y = weight;
  for (let i = 0; i < 30; i++) addon.linear(device, y, weight, null, (y = tensor()));
`;

/** Runs `script` in a new process. */
function run(script: string, flags: readonly string[] = []) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...flags, "-e", script], {
    encoding: "utf8",
    timeout: 60_000,
  });
  return { status, signal, stdout: stdout.trim(), stderr };
}

describe("a process that ends", () => {
  const worker = `${busy}
    addon.read(device, y);
    addon.sync(device);
    require("node:worker_threads").parentPort?.postMessage("queued");
  `;

  test("keeps its exit code while operations are queued", () => {
    expect(run(`${busy} addon.sync(device); process.exit(7)`)).toMatchObject({ status: 7 });
  });

  test("does not run what is queued when nobody waits for it", () => {
    const start = performance.now();
    expect(run(busy)).toMatchObject({ status: 0, signal: null });
    const unwaited = performance.now() - start;
    expect(run(`${busy} addon.sync(device)`)).toMatchObject({ status: 0 });
    expect(unwaited).toBeLessThan((performance.now() - start) / 2);
  });

  test("survives workers terminated while reads are pending", () => {
    const script = `
      const { Worker } = require("node:worker_threads");
      const next = (left) => {
        if (left === 0) return console.log("all gone");
        const worker = new Worker(${JSON.stringify(worker)}, { eval: true });
        worker.on("error", (error) => { throw error; });
        worker.once("message", () => worker.terminate().then(() => next(left - 1)));
      };
      next(4);`;
    expect(run(script)).toMatchObject({ status: 0, stdout: "all gone" });
  });

  test("survives a worker that exits with a closed device whose tensors live on", () => {
    const script = `
      const { Worker } = require("node:worker_threads");
      const code = ${JSON.stringify(`${worker} addon.closeDevice(device); process.exit(0)`)};
      new Worker(code, { eval: true }).on("exit", (code) => console.log("exit", code));`;
    expect(run(script)).toMatchObject({ status: 0, stdout: "exit 0" });
  });
});

describe("the lifetime of a device", () => {
  test("a read that was asked for is answered although the device is closed meanwhile", async () => {
    const device = openDevice({ threads: 2 });
    const weight = device.zeros("f32", [512, 512]);
    using x = device.from("f32", new Float32Array(512 * 512).fill(3), [512, 512]);
    for (let i = 0; i < 20; i++) ops.linear(x, weight)[Symbol.dispose]();
    const answer = x.read();
    device[Symbol.dispose]();
    expect((await answer)[0]).toBe(3);
    await expect(x.read()).rejects.toMatchObject({ code: "KERNEL_DEVICE" });
    weight[Symbol.dispose]();
  });

  test("tensors may be disposed after their device", () => {
    for (let i = 0; i < 50; i++) {
      const device = openDevice({ threads: 3 });
      const x = device.zeros("f32", [64, 64]);
      const y = ops.linear(x, x);
      device[Symbol.dispose]();
      device[Symbol.dispose]();
      x[Symbol.dispose]();
      y[Symbol.dispose]();
      y[Symbol.dispose]();
    }
  });

  test("tensors that nobody disposed are freed by the garbage collector", () => {
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      const device = addon.openDevice(1, "scalar");
      for (let i = 0; i < 100; i++) addon.allocate(device, "f32", Float64Array.of(1000));
      (function collect(left) {
        gc();
        const [live] = addon.memory(device, false);
        if (live === 0 || left === 0) return console.log("live", live);
        setImmediate(collect, left - 1);
      })(20);`;
    expect(run(script, ["--expose-gc"])).toMatchObject({ status: 0, stdout: "live 0" });
  });

  test("memory is level over ten thousand allocations of changing size", () => {
    using device = openDevice({ threads: 1 });
    for (let i = 0; i < 10_000; i++) {
      using x = device.empty("u8", [1 + ((i * 7919) % (1 << 20))]);
      using row = x.reshape([1, x.size(0)]);
      ops.copy(row)[Symbol.dispose]();
    }
    const { live, cached, peak } = device.memory();
    expect(live).toBe(0);
    expect(cached).toBeLessThanOrEqual(64 << 20);
    expect(peak).toBeLessThan(3 << 20);
  });

  test("a fault gives its reason to every later wait and skips what follows", async () => {
    using device = openDevice({ threads: 2 });
    using table = device.zeros("f32", [4, 2]);
    ops.embedding(table, device.from("i32", Int32Array.of(1, 4)));
    ops.embedding(table, device.from("i32", Int32Array.of(-9)));
    for (const wait of [device.sync(), table.read(), device.sync()]) {
      await expect(wait).rejects.toMatchObject({
        code: "KERNEL_VALUE",
        message: expect.stringContaining("ids[1] is 4"),
      });
    }
    expect(device.zeros("f32", [2]).size(0)).toBe(2);
  });
});

describe("an operation refuses", () => {
  test("tensors of another device, whose order does not protect them", () => {
    using one = openDevice({ threads: 1 });
    using other = openDevice({ threads: 1 });
    using x = one.zeros("f32", [2, 2]);
    using weight = other.zeros("f32", [2, 2]);
    expect(() => ops.linear(x, weight)).toThrow(refused);
  });

  test("to write to a mapped file", () => {
    const directory = mkdtempSync(join(tmpdir(), "nibble-"));
    try {
      const path = join(directory, "weights");
      writeFileSync(path, new Uint8Array(64));
      using device = openDevice({ threads: 1 });
      using file = new MappedFile(path);
      using x = file.tensor(device, 0, "f32", [2, 8]);
      expect(() => ops.rope(x, device.zeros("f32", [2, 4]))).toThrow(refused);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  test("to write to what it also reads", () => {
    using device = openDevice({ threads: 1 });
    using gram = device.zeros("f32", [4, 4]);
    expect(() => ops.accumulateGram(gram, gram)).toThrow(refused);
    expect(() => ops.accumulateGram(gram.narrow(0, 3, 1), gram)).toThrow(refused);
    ops.accumulateGram(device.zeros("f32", [1, 4]), gram);
  });

  test("shapes that overflow, also where an extent is zero", () => {
    using device = openDevice({ threads: 1 });
    const most = Number.MAX_SAFE_INTEGER;
    for (const shape of [[-1], [0.5], [Number.NaN], [most, most, 0], [most, 0, most]]) {
      expect(() => device.zeros("f32", shape)).toThrow(KernelError);
      expect(() => device.zeros("f32", shape)).toThrow(
        expect.objectContaining({ code: "KERNEL_SHAPE" }),
      );
    }
  });
});

test("a view without elements can be read and reshaped", async () => {
  using device = openDevice({ threads: 1 });
  using x = device.zeros("f32", [3, 4]);
  expect(await x.narrow(1, 2, 0).read()).toEqual(new Float32Array(0));
  expect(x.narrow(1, 2, 0).reshape([0, 7]).shape).toEqual([0, 7]);
});

test.skipIf(process.platform === "win32")("a pipe is refused and not waited for", () => {
  const directory = mkdtempSync(join(tmpdir(), "nibble-"));
  try {
    const path = join(directory, "pipe");
    expect(spawnSync("mkfifo", [path]).status).toBe(0);
    const script = `
      const addon = require(${JSON.stringify(addonPath)});
      try { addon.mapFile(${JSON.stringify(path)}); } catch (error) { console.log(error.code); }`;
    expect(run(script)).toMatchObject({ status: 0, stdout: "KERNEL_FILE" });
  } finally {
    rmSync(directory, { recursive: true });
  }
});
