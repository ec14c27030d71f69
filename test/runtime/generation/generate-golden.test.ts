import { describe, expect, test } from "vitest";
import { openDevice } from "../../../kernels/index.ts";
import { generate } from "../../../runtime/index.ts";
import { sharedGolden } from "../../support/golden.ts";
import { collect, greedy, openMini } from "./generate-support.ts";

const golden = sharedGolden("greedy.safetensors");
const names = golden?.names.filter((name) => name.endsWith(".tokens")).map((n) => n.slice(0, -7));

describe.skipIf(golden === undefined)("greedy decoding with a cache", () => {
  test.each(names ?? [])("of %s chooses the original code's tokens, all of them", async (name) => {
    using device = openDevice({ threads: 2 });
    using model = openMini(device);
    const expected = golden!.ids(`${name}.tokens`);
    const tokens = await collect(
      generate(model, {
        prompt: golden!.ids(`${name}.prompt`),
        maxNewTokens: expected.length,
        sampling: greedy,
        allowed: model.shape.vocabulary,
      }),
    );
    expect(tokens).toHaveLength(32);
    expect(tokens).toEqual([...expected]);
  });
});
