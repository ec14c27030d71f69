import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ActivationStore } from "../../calibration/index.ts";
import { type Device, type F32, openDevice, ops } from "../../kernels/index.ts";
import { normal, seeded } from "../support/random.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
let device: Device;
beforeAll(() => {
  device = openDevice({ threads: 1 });
});
afterAll(() => device[Symbol.dispose]());

// More than one chunk of 8 MiB, and no multiple of it.
const extents: readonly (readonly [number, number])[] = [
  [1, 1],
  [17, 333],
  [1031, 3001],
];
const values = (rows: number, width: number) => normal(rows * width, seeded(rows + width));
const tensorOf = ([rows, width]: readonly [number, number]): F32 =>
  device.from("f32", values(rows, width), [rows, width]);

/** Whether a stored tensor has the bytes it was made of. */
async function isIntact(
  store: ActivationStore,
  name: string,
  extent: readonly [number, number],
): Promise<boolean> {
  const tensor = await store.take(name);
  const read = await tensor.read();
  store.restore(name, tensor);
  return Buffer.from(read.buffer).equals(Buffer.from(values(...extent).buffer));
}

describe("hidden states", () => {
  test.each([undefined, 0, 4 * 17 * 333 + 4])(
    "come back bit for bit with a budget of %s bytes, as often as asked",
    async (budgetBytes) => {
      await using store = new ActivationStore(device, { budgetBytes, directory: temporary.path });
      for (const extent of extents) await store.put(`${extent}`, tensorOf(extent));
      for (let round = 0; round < 2; round++) {
        for (const extent of extents) {
          expect(await isIntact(store, `${extent}`, extent)).toBe(true);
        }
      }
    },
  );

  test("beyond the budget take no device memory, and a file without a name", async () => {
    const before = device.memory().live;
    await using store = new ActivationStore(device, { budgetBytes: 0, directory: temporary.path });
    for (const extent of extents) await store.put(`${extent}`, tensorOf(extent));
    expect(device.memory().live).toBe(before);
    expect(store.spilledBytes).toBe(4 * (1 + 17 * 333 + 1031 * 3001));
    expect(readdirSync(temporary.path)).toEqual([]);
  });

  test("that are replaced give their room to others", async () => {
    await using store = new ActivationStore(device, { budgetBytes: 0, directory: temporary.path });
    for (let round = 0; round < 5; round++) {
      await store.put("a", tensorOf([round + 1, 512]));
      expect(await isIntact(store, "a", [round + 1, 512])).toBe(true);
    }
    store.drop("a");
    await store.put("b", tensorOf([2, 8]));
    expect(store.spilledBytes).toBe(4 * 5 * 512);
    await expect(store.take("a")).rejects.toThrow(RangeError);
  });

  test("are loaded no sooner than the device has done what was called before: loads that wait for it pile up", async () => {
    await using store = new ActivationStore(device, { budgetBytes: 0, directory: temporary.path });
    await store.put("a", tensorOf([2, 8]));
    using matrix = tensorOf([1024, 1024]);
    using sum = device.zeros("f32", [1024, 1024]);
    for (let i = 0; i < 30; i++) ops.accumulateGram(matrix, sum);
    let isDone = false;
    const done = device.sync().then(() => {
      isDone = true;
    });
    using _loaded = await store.take("a");
    expect(isDone).toBe(true);
    await done;
  });

  test("that cannot go to the disk are an error that names the file", async () => {
    const directory = join(temporary.path, "missing");
    await using store = new ActivationStore(device, { budgetBytes: 0, directory });
    await expect(store.put("a", tensorOf([1, 1]))).rejects.toMatchObject({
      name: "CalibrationError",
      code: "CALIBRATION_SPILL",
      message: expect.stringContaining(directory),
    });
  });
});
