import { truncateSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openModel, walkBlocks } from "../../../runtime/index.ts";
import { type Implementation, openImplementation } from "../../support/kernels.ts";
import {
  temporaryDirectory,
  tinyQwenTensors,
  writeTinyQwen,
} from "../../support/tiny-checkpoint.ts";

const work = temporaryDirectory();
afterAll(work.remove);
const source = join(work.path, "source");
const layers = 4;
const write = (dir: string) =>
  writeTinyQwen(dir, { num_hidden_layers: layers }, tinyQwenTensors(1, layers));
beforeAll(() => write(source));

describe.each(["scalar", "cuda"] as const satisfies readonly Implementation[])(
  "the blocks of a model on %s",
  (implementation) => {
    test("come in order with the weights they have alone", async () => {
      using device = openImplementation(implementation);
      using model = openModel(source, device);
      const seen: number[] = [];
      for (const [index, block] of walkBlocks(model)) {
        seen.push(index);
        using alone = model.loadBlock(index);
        for (const name of block.stages.flatMap(({ linears }) => linears)) {
          const { weight, bias } = block.linear(name);
          const expected = alone.linear(name);
          expect(await weight?.read()).toEqual(await expected.weight?.read());
          expect(await bias?.read()).toEqual(await expected.bias?.read());
        }
      }
      expect(seen).toEqual([0, 1, 2, 3]);
    });

    test("take the memory of two at most, and none when the walk ends or is left", () => {
      using device = openImplementation(implementation);
      using model = openModel(source, device);
      const before = device.memory().live;
      const use: number[] = [];
      for (const _ of walkBlocks(model)) use.push(device.memory().live - before);
      const [first = 0, , , last = 0] = use;
      expect(use).toEqual([first, first, first, last]);
      expect(first).toBe(2 * last);
      // On the processor blocks are views of the file.
      expect(first > 0).toBe(implementation === "cuda");
      expect(device.memory().live).toBe(before);
      for (const [index] of walkBlocks(model)) if (index === 1) break;
      expect(device.memory().live).toBe(before);
      const fails = () => {
        for (const _ of walkBlocks(model)) throw new RangeError("stop");
      };
      expect(fails).toThrow("stop");
      expect(device.memory().live).toBe(before);
    });

    test("of a file that became shorter are refused, and leave no memory behind", () => {
      const cut = join(work.path, `cut-${implementation}`);
      write(cut);
      using device = openImplementation(implementation);
      using model = openModel(cut, device);
      const before = device.memory().live;
      const walk = () => {
        for (const [index] of walkBlocks(model)) {
          if (index === 1) truncateSync(join(cut, "model.safetensors"), 4096);
        }
      };
      expect(walk).toThrow(expect.objectContaining({ code: "CHECKPOINT_CHANGED" }));
      expect(device.memory().live).toBe(before);
    });
  },
);
