import { describe, expect, test } from "vitest";
import { type Device, type F32, ops, type Tensor } from "../../kernels/index.ts";
import { freshLayer } from "../support/attention.ts";
import { type Implementation, implementations, withDevice } from "../support/kernels.ts";
import { normal, seeded } from "../support/random.ts";

type Shape = { readonly heads: number; readonly kvHeads: number; readonly dim: number };

/** Rows of three sequences, which share ten pages of 4. */
const positions = Int32Array.of(2, 3, 4, 0, 11, 5, 9, 7, 8);
const sequences = Int32Array.of(1, 1, 1, 0, 2, 2, 1, 0, 2);
const pages = Int32Array.of(4, 1, 9, 8, 3, 0, 2, 7, 5);
const rowCount = positions.length;

type Store = (qkv: F32, table: F32, rows: ops.CacheRows, cache: ops.CacheLayer) => void;

const apart =
  ({ heads, kvHeads, dim }: Shape): Store =>
  (qkv, table, rows, cache) => {
    const part = (head: number, count: number) => qkv.narrow(1, head * dim, count * dim);
    ops.rope(part(0, heads + kvHeads), table);
    ops.storeCache(part(heads, kvHeads), part(heads + kvHeads, kvHeads), rows, cache);
  };

/** The bits of all that may be written and of what is beside it: rows have as many elements more as `margins` says. */
async function outcome(
  { isa, dtype }: { readonly isa: Implementation; readonly dtype: ops.CacheTensor["dtype"] },
  { heads, kvHeads, dim }: Shape,
  [before, after]: readonly [number, number],
  store: Store,
) {
  const width = (heads + 2 * kvHeads) * dim;
  const stride = before + width + after;
  const values = normal(rowCount * stride, seeded(stride), { heavy: true });
  // Of a key, so that there are codes without a grid.
  values[stride + before + heads * dim] = Number.POSITIVE_INFINITY;
  return withDevice({ isa }, async (device) => {
    const rows = {
      positions: device.from("i32", positions),
      rowSequence: device.from("i32", sequences),
      blockTable: device.from("i32", pages, [3, 3]),
    };
    const bases = device.from("f32", Float32Array.of(10000, 41234.5, 1e6));
    const table = ops.ropeTable(rows.positions, rows.rowSequence, bases, dim);
    const buffer = device.from("f32", values, [rowCount, stride]);
    const cache = freshLayer(device, dtype, [10, kvHeads, 4, dim]);
    store(buffer.narrow(1, before, width), table, rows, cache);
    const bits = async (tensor: Tensor | undefined) =>
      tensor && Buffer.from((await tensor.read()).buffer).toString("hex");
    return {
      ...{ qkv: await bits(buffer), k: await bits(cache.k), v: await bits(cache.v) },
      ...{ kGrids: await bits(cache.grids?.k), vGrids: await bits(cache.grids?.v) },
    };
  });
}

describe.each(implementations)("ropeStoreCache on %s", (isa) => {
  test.each(["f32", "f16", "bf16", "u8"] as const)(
    "leaves the bits of rope and storeCache in a cache of %s and in rows of any stride",
    async (dtype) => {
      for (const shape of [
        { heads: 1, kvHeads: 1, dim: 2 },
        { heads: 3, kvHeads: 1, dim: 6 },
        { heads: 5, kvHeads: 5, dim: 20 },
        { heads: 6, kvHeads: 2, dim: 64 },
        { heads: 7, kvHeads: 3, dim: 128 },
        { heads: 2, kvHeads: 1, dim: 264 },
      ]) {
        for (const margins of [
          [0, 0],
          [4, 4],
          [1, 2],
        ] as const) {
          const each = { isa, dtype };
          const label = `${JSON.stringify(shape)}, margins of ${margins}`;
          const together = await outcome(each, shape, margins, ops.ropeStoreCache);
          const want = await outcome(each, shape, margins, apart(shape));
          expect(together, label).toEqual(want);
        }
      }
    },
  );

  test("stores keys and values of a step without queries", async () => {
    const shape = { heads: 0, kvHeads: 2, dim: 8 };
    const each = { isa, dtype: "f32" } as const;
    const want = await outcome(each, shape, [0, 0], apart(shape));
    expect(await outcome(each, shape, [0, 0], ops.ropeStoreCache)).toEqual(want);
  });
});

type State = { readonly position?: number; readonly sequence?: number; readonly block?: number };

/** Operands of two rows, the second at position 5 of the only sequence, whose second page it is in. */
function operands(device: Device, { position = 5, sequence = 0, block = 2 }: State = {}) {
  const zeros = (...shape: number[]) => device.zeros("f32", shape);
  return {
    zeros,
    rows: {
      positions: device.from("i32", Int32Array.of(0, position)),
      rowSequence: device.from("i32", Int32Array.of(0, sequence)),
      blockTable: device.from("i32", Int32Array.of(0, block), [1, 2]),
    },
    cache: { k: zeros(3, 1, 4, 8), v: zeros(3, 1, 4, 8) },
  };
}

describe.each(implementations)("what ropeStoreCache refuses on %s", (isa) => {
  test.each([
    [{ position: -1 }, "positions[1] is -1"],
    [{ position: 8 }, "positions[1] is 8"],
    [{ sequence: -1 }, "row_sequence[1] is -1"],
    [{ sequence: 1 }, "row_sequence[1] is 1"],
    [{ block: -1 }, "block_table["],
    [{ block: 3 }, "block_table["],
  ] satisfies [State, string][])(
    "faults the device instead of leaving the cache for %j",
    async (state, what) => {
      const run = withDevice({ isa }, async (device) => {
        const { rows, cache, zeros } = operands(device, state);
        ops.ropeStoreCache(zeros(2, 24), zeros(2, 8), rows, cache);
      });
      await expect(run).rejects.toMatchObject({
        code: "KERNEL_VALUE",
        message: expect.stringContaining(`ropeStoreCache: ${what}`),
      });
    },
  );

  test("a page that no row is in may be anything", async () => {
    await withDevice({ isa }, async (device) => {
      const { rows, cache, zeros } = operands(device, { position: 3, block: -1 });
      ops.ropeStoreCache(zeros(2, 24), zeros(2, 8), rows, cache);
    });
  });

  test("rows that are not whole heads with keys and values, other angles, odd heads and overlaps", async () => {
    await withDevice({ isa }, async (device) => {
      const { rows, cache, zeros } = operands(device);
      const refusal = (code: string) => expect.objectContaining({ name: "KernelError", code });
      for (const [qkv, table] of [
        [zeros(2, 20), zeros(2, 8)],
        [zeros(2, 8), zeros(2, 8)],
        [zeros(2, 24), zeros(2, 6)],
        [zeros(2, 24), zeros(1, 8)],
        [zeros(3, 24), zeros(3, 8)],
      ] as const) {
        expect(() => ops.ropeStoreCache(qkv, table, rows, cache)).toThrow(refusal("KERNEL_SHAPE"));
      }
      const odd = { k: zeros(3, 1, 4, 7), v: zeros(3, 1, 4, 7) };
      expect(() => ops.ropeStoreCache(zeros(2, 21), zeros(2, 7), rows, odd)).toThrow(
        refusal("KERNEL_SHAPE"),
      );
      const half = { ...cache, v: device.zeros("f16", [3, 1, 4, 8]) };
      expect(() => ops.ropeStoreCache(zeros(2, 24), zeros(2, 8), rows, half)).toThrow(
        refusal("KERNEL_DTYPE"),
      );
      const shared = cache.k.reshape([3, 32]).narrow(0, 0, 2).narrow(1, 0, 24);
      expect(() => ops.ropeStoreCache(shared, zeros(2, 8), rows, cache)).toThrow(
        refusal("KERNEL_VALUE"),
      );
    });
  });
});
