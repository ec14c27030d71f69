import { readdirSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { candidates, cpuFeatures, detectedIsa, isaLevels } from "../../kernels/index.ts";
import { repositoryPath } from "../support/shared.ts";

describe("candidates", () => {
  test("list every operation that a dispatch.cc names, once", () => {
    const ops = repositoryPath("kernels", "src", "ops");
    const sources = readdirSync(ops, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith("dispatch.cc"))
      .map((file) => readFileSync(`${ops}/${file}`, "utf8"));
    const named = sources.flatMap((source) =>
      [...source.matchAll(/Operation \w+\("(\w+)"|Dispatch\("(\w+)"/g)].map(
        ([, operation, dispatched]) => operation ?? dispatched,
      ),
    );
    expect(candidates().map(({ operation }) => operation)).toEqual(named.sort());
    expect(named).toContain("linearGptq");
  });

  test("end with one that every machine allows", () => {
    for (const { candidates: listed } of candidates()) {
      expect(listed.at(-1)).toEqual({ name: "reference", needs: "scalar", isAllowed: true });
    }
  });

  test("are allowed up to the level of this processor", () => {
    const present = isaLevels.indexOf(detectedIsa());
    for (const { needs, isAllowed } of candidates().flatMap(({ candidates: listed }) => listed)) {
      expect(isAllowed).toBe(isaLevels.indexOf(needs) <= present);
    }
  });
});

test("the features of the processor include what its level stands for", () => {
  const avx2 = ["avx2", "fma", "f16c"];
  const avx512 = [...avx2, "avx512f", "avx512bw", "avx512vl", "avx512dq"];
  const vnni = [...avx512, "avx512vnni"];
  const needed = {
    ...{ scalar: [], avx2, avx512 },
    ...{ "avx512-vnni": vnni, "avx512-bf16": [...vnni, "avx512bf16"] },
  };
  expect(cpuFeatures()).toEqual(expect.arrayContaining(needed[detectedIsa()]));
});
