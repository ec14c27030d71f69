import { describe, expect, test } from "vitest";
import { BlockPool, type PooledSequence } from "../../../runtime/cache/block-pool.ts";
import { createRandom } from "../../../runtime/index.ts";

const count = (length: number, first = 0) => Array.from({ length }, (_, i) => first + i);

/** A sequence whose prompt is computed at once. */
function opened(pool: BlockPool, prompt: readonly number[], room: number, kind = 1) {
  const sequence = pool.open(prompt, kind, room);
  expect(sequence).toBeDefined();
  const reused = sequence!.length;
  sequence!.extend(prompt.slice(reused));
  return { sequence: sequence!, reused };
}

describe("a pool of cache blocks", () => {
  test("shares whole blocks of what prompts have in common, but never the last token", () => {
    const pool = new BlockPool({ blocks: 8, blockSize: 4 });
    const first = opened(pool, count(9), 10);
    expect(first.reused).toBe(0);
    const second = opened(pool, count(9), 10);
    expect(second.reused).toBe(8);
    expect(second.sequence.blocks.slice(0, 2)).toEqual(first.sequence.blocks.slice(0, 2));
    expect(second.sequence.blocks[2]).not.toBe(first.sequence.blocks[2]);
    expect(opened(pool, count(8), 8).reused).toBe(4);
    expect(pool.used).toBe(5);
  });

  test("keeps what was given back until the room is needed, the end of it for the shortest time", () => {
    const pool = new BlockPool({ blocks: 4, blockSize: 4 });
    opened(pool, count(16), 16).sequence[Symbol.dispose]();
    expect([pool.used, pool.idle]).toEqual([0, 4]);
    opened(pool, count(4, 100), 4).sequence[Symbol.dispose]();
    expect(opened(pool, count(16), 16).reused).toBe(12);
  });

  test("knows tokens by all that came before them, and by the kind of their sequence", () => {
    const pool = new BlockPool({ blocks: 16, blockSize: 4 });
    opened(pool, [...count(4), ...count(4, 50), 1], 9);
    expect(opened(pool, [...count(4, 9), ...count(4, 50), 1], 9).reused).toBe(0);
    expect(opened(pool, [...count(4), ...count(4, 50), 1], 9, 2).reused).toBe(0);
    expect(opened(pool, [...count(4), ...count(4, 50), 1], 9).reused).toBe(8);
  });

  test("opens nothing that could outgrow the cache, and gives a refused prefix back", () => {
    const pool = new BlockPool({ blocks: 4, blockSize: 4 });
    const { sequence } = opened(pool, count(5), 12);
    expect(pool.open(count(5), 1, 13)).toBeUndefined();
    const fits = pool.open(count(5), 1, 8);
    expect(fits?.length).toBe(4);
    sequence[Symbol.dispose]();
    fits?.[Symbol.dispose]();
    sequence[Symbol.dispose]();
    expect(pool.used).toBe(0);
    expect(pool.open([7], 1, 16)).toBeDefined();
  });

  test("never hands a block to two that write it, and never holds other tokens than it says", () => {
    const random = createRandom(5);
    const pool = new BlockPool({ blocks: 24, blockSize: 4 });
    const contents = new Map<number, string>();
    const open: { sequence: PooledSequence; tokens: number[]; room: number }[] = [];
    const check = (sequence: PooledSequence, tokens: readonly number[], kind: number) => {
      for (let i = 0; i * 4 < sequence.length; i++) {
        const stored = `${kind}:${tokens.slice(0, Math.min(i * 4 + 4, sequence.length))}`;
        expect(contents.get(sequence.blocks[i]!)).toBe(stored);
      }
    };
    const grow = (entry: (typeof open)[number], tokens: readonly number[]) => {
      for (const token of tokens) {
        entry.sequence.extend([token]);
        entry.tokens.push(token);
        const at = entry.sequence.length;
        contents.set(entry.sequence.blocks.at(-1)!, `1:${entry.tokens.slice(0, at)}`);
      }
    };
    let reused = 0;
    for (let round = 0; round < 3000; round++) {
      const choice = random();
      if (choice < 0.4) {
        const prompt = Array.from({ length: 1 + Math.floor(random() * 20) }, () =>
          random() < 0.9 ? 1 : 2,
        );
        const room = prompt.length + Math.floor(random() * 12);
        const sequence = pool.open(prompt, 1, room);
        if (sequence === undefined) continue;
        reused += sequence.length;
        const entry = { sequence, tokens: prompt.slice(0, sequence.length), room };
        check(sequence, entry.tokens, 1);
        grow(entry, prompt.slice(sequence.length));
        open.push(entry);
      } else if (open.length > 0) {
        const at = Math.floor(random() * open.length);
        const entry = open[at]!;
        if (choice < 0.8 && entry.tokens.length < entry.room) grow(entry, [random() < 0.9 ? 1 : 2]);
        else {
          check(entry.sequence, entry.tokens, 1);
          entry.sequence[Symbol.dispose]();
          open.splice(at, 1);
        }
      }
    }
    for (const { sequence } of open) sequence[Symbol.dispose]();
    expect(pool.used).toBe(0);
    expect(reused).toBeGreaterThan(1000);
  });
});
