import { tableFromIPC } from "apache-arrow";
import { describe, expect, test } from "vitest";
import {
  defaultRecipe,
  type LinearReport,
  type QuantizationReport,
} from "../../quantizer/index.ts";
import { linearsArrow } from "../../quantizer/report-arrow.ts";
import { reportMarkdown } from "../../quantizer/report-markdown.ts";

const linear: LinearReport = {
  ...{
    name: "transformer.h.0.attn.c_attn",
    method: "gptq",
    inFeatures: 256,
    bits: 4,
    groupSize: 128,
    outFeatures: 768,
  },
  ...{ tokens: 65536, loss: 1.25, relativeError: 0.0125, damping: 0.01, deadInputs: 3 },
  ...{ seconds: 0.5, fallback: undefined },
};
const unmeasured: LinearReport = {
  ...linear,
  ...{ name: "transformer.h.1.mlp.w1", method: "rtn", tokens: 0, loss: undefined },
  ...{ relativeError: undefined, fallback: "no damping helped" },
};

const report: QuantizationReport = {
  ...{ nibble: "1.2.3", source: "/models/mine|`odd`\n# heading", recipe: defaultRecipe },
  command: "nibble quantize mine --data '```.txt'",
  calibration: { segments: 2, tokens: 65536, counted: 60000 },
  linears: [linear, { ...linear, name: "worse", relativeError: 0.5 }, unmeasured],
  unused: ["transformer.extra"],
  conversions: [{ name: "lm_head.weight", overflowed: 0, flushed: 7 }],
  ...{ bitsPerWeight: 4.16, tensorBytes: 7_800_000, spilledBytes: 0 },
  phases: { convert: 1, forward: 2, hessian: 3, solve: 4 },
  seconds: 10,
  files: { copied: [], skipped: [] },
};

describe("the Arrow table of a report", () => {
  test("gives back every field of every linear", async () => {
    const table = tableFromIPC(await linearsArrow([linear, unmeasured]));
    expect(table.numRows).toBe(2);
    for (const [i, expected] of [linear, unmeasured].entries()) {
      const withNulls = Object.entries(expected).map(([field, value]) => [field, value ?? null]);
      expect(table.get(i)?.toJSON()).toEqual(Object.fromEntries(withNulls));
    }
  });

  test("has types that do not depend on the values", async () => {
    const types = async (linears: readonly LinearReport[]) => {
      const { fields } = tableFromIPC(await linearsArrow(linears)).schema;
      return fields.map(({ name, type }) => `${name} ${type}`);
    };
    expect(await types([linear])).toEqual(await types([unmeasured]));
    expect(await types([])).toEqual(await types([linear]));
  });
});

describe("the Markdown of a report", () => {
  const text = reportMarkdown(report);

  test("lists the linears by their error, and what was not as asked for", () => {
    const rows = text.split("\n").filter((line) => / × /.test(line) && /\d/.test(line));
    expect(rows.map((row) => row.split("`")[1])).toEqual(["worse", linear.name]);
    expect(text).toContain("no damping helped");
    expect(text).toContain("`lm_head.weight`: as f16 0 values became infinite and 7 became zero");
    expect(text).toContain("transformer.extra");
  });

  test("says what it would take to do it again", () => {
    expect(text).toContain("````sh\nnibble quantize mine --data '```.txt'\n````");
    expect(text).toContain(
      "int4, groups of 128, symmetric with signed scales, act-order-static, importance grid, damping 0.05, " +
        "scales and codes refined, GPTAQ 0.75",
    );
  });

  test("lets no name become markup", () => {
    const [title = ""] = text.split("\n");
    expect(title).toBe("# `` mine\\|`odd` # heading ``, int4");
    expect(text.match(/^# /gm)).toHaveLength(1);
    const columns = (line: string) => line.replaceAll("\\|", "").split("|").length;
    const [, facts = ""] = text.split("\n\n").filter((part) => part.startsWith("|"));
    for (const line of facts.split("\n"))
      expect(columns(line)).toBe(columns(facts.split("\n")[0]!));
  });

  test("says so where nothing was measured", () => {
    expect(reportMarkdown({ ...report, linears: [unmeasured] })).toContain(
      "No linear was measured",
    );
  });
});
