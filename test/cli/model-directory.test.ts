import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { hubCacheDirectory } from "../../cli/model-directory.ts";
import { fillHubCache } from "../support/hub-cache.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { mini, nibble } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const cache = join(temporary.path, "hub");
const snapshot = fillHubCache(cache, "models--Acme--mini", mini);
const env = { HF_HUB_CACHE: cache };

describe("the directory of the Hugging Face cache", () => {
  test.each([
    [{}, "/home/u/.cache/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/x" }, "/x/huggingface/hub"],
    [{ XDG_CACHE_HOME: "/x", HF_HOME: "~/hf" }, "/home/u/hf/hub"],
    [{ HF_HOME: "/hf", HF_HUB_CACHE: "/hub" }, "/hub"],
    [{ HF_HOME: "", HF_HUB_CACHE: "" }, "/home/u/.cache/huggingface/hub"],
  ])("follows %j", (variables, expected) => {
    expect(hubCacheDirectory(variables, "/home/u")).toBe(expected);
  });
});

describe("a model id on the command line", () => {
  test("is inspected from the cache", async () => {
    const { status, stdout } = await nibble(["inspect", "Acme/mini", "--json"], { env });
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ dir: snapshot, isComplete: true });
  });

  test("is quantized into files that stand on their own, and verified against", async () => {
    const out = join(temporary.path, "int4");
    const made = ["quantize", "Acme/mini", "--method", "rtn", "-q", "-o", out];
    expect(await nibble(made, { env })).toMatchObject({ status: 0 });
    const links = readdirSync(out).filter((name) => lstatSync(join(out, name)).isSymbolicLink());
    expect(links).toEqual([]);
    expect(readdirSync(out)).toContain("qwen.tiktoken");
    const verified = await nibble(["verify", out, "--source", "Acme/mini"], { env });
    expect(verified).toMatchObject({ status: 0 });
  });

  test("that the cache does not have ends with 3 and says where it was looked for", async () => {
    for (const command of [
      ["inspect"],
      ["generate", "-p", "x"],
      ["doctor"],
      ["evaluate", "--data", "x"],
    ]) {
      const { status, stderr } = await nibble([...command, "Acme/other"], { env });
      expect(stderr).toMatch(/^error: Acme\/other: [^\n]*\n$/);
      expect(stderr).toContain(cache);
      expect(status).toBe(3);
    }
  });

  test("cannot have its result inside it", async () => {
    const out = join(snapshot, "int4");
    const { status, stderr } = await nibble(
      ["quantize", "Acme/mini", "--method", "rtn", "-o", out],
      { env },
    );
    expect({ status, stderr }).toMatchObject({
      status: 2,
      stderr: expect.stringContaining("inside"),
    });
    expect(readdirSync(snapshot)).not.toContain("int4");
  });
});
