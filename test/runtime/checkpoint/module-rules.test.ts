import { describe, expect, test } from "vitest";
import { parseModuleRules, settingsFor } from "../../../runtime/checkpoint/module-rules.ts";

const initial = { bits: 4, groupSize: 128, sym: true, descAct: false } as const;

function settings(dynamic: object, name: string) {
  const rules = parseModuleRules(JSON.parse(JSON.stringify(dynamic)), "here");
  const found = settingsFor(
    { ...initial, ...(rules === undefined ? {} : { dynamic: rules }) },
    name,
  );
  if (found === undefined) return undefined;
  const { bits, groupSize, sym, descAct } = found;
  return { bits, groupSize, sym, descAct };
}

const name = "transformer.h.11.mlp.c_proj";

describe("settings of a module", () => {
  test("are those of the first rule that matches, whatever a later one says", () => {
    const dynamic = { "+:.*mlp": { bits: 8 }, "-:.*c_proj": {} };
    expect(settings(dynamic, name)).toEqual({ ...initial, bits: 8 });
    expect(settings(dynamic, "transformer.h.11.attn.c_proj")).toBeUndefined();
  });

  test("match from the start of a name but not to its end, as Python's re.match does", () => {
    expect(settings({ "-:transformer\\.h\\.1": {} }, name)).toBeUndefined();
    expect(settings({ "-:transformer\\.h\\.1\\.": {} }, name)).toEqual(initial);
    expect(settings({ "-:mlp": {} }, name)).toEqual(initial);
  });

  test("come from a rule without a sign too, and from groups of alternatives", () => {
    const dynamic = { ".*\\.(?:10|11)\\..*(w1|c_proj)": { group_size: -1, desc_act: true } };
    expect(settings(dynamic, name)).toEqual({ ...initial, groupSize: -1, descAct: true });
    expect(settings(dynamic, "transformer.h.9.mlp.c_proj")).toEqual(initial);
  });

  test("ignore how codes were found, and an empty object of rules", () => {
    expect(settings({ "+:.*": { mse: 2.4 } }, name)).toEqual(initial);
    expect(parseModuleRules({}, "here")).toBeUndefined();
  });
});

describe("rules", () => {
  test.each([
    ["a list", [{ bits: 8 }]],
    ["a value that is no object", { "+:a": 8 }],
    ["a group size of 0", { "+:a": { group_size: 0 } }],
    ["bits that are a text", { "+:a": { bits: "8" } }],
    ["an expression with an open group", { "-:(a": {} }],
  ])("of %s are refused as malformed", (_, dynamic) => {
    expect(() => parseModuleRules(JSON.parse(JSON.stringify(dynamic)), "here")).toThrowError(
      expect.objectContaining({ name: "CheckpointError", code: "CHECKPOINT_CONFIG" }),
    );
  });

  test("in a number that could take long are refused", () => {
    const many = Object.fromEntries(Array.from({ length: 65 }, (_, i) => [`-:.*a.*b.*${i}`, {}]));
    expect(() => parseModuleRules(many, "here")).toThrowError(
      expect.objectContaining({ code: "CHECKPOINT_UNSUPPORTED" }),
    );
  });

  test("at the limits answer a long name that nearly matches at once", () => {
    const most = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`-:.*a.*a.*a${i}$`, {}]));
    const rules = parseModuleRules(most, "here");
    const started = performance.now();
    expect(rules?.find(`transformer.${"a".repeat(30)}`)).toBeUndefined();
    expect(performance.now() - started).toBeLessThan(500);
  });
});
