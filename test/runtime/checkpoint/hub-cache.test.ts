import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { findInHubCache, openCheckpoint, parseModelId } from "../../../runtime/index.ts";
import { cachedCommit, fillHubCache } from "../../support/hub-cache.ts";
import { repositoryPath } from "../../support/shared.ts";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const mini = repositoryPath("examples", "qwen-mini");
let caches = 0;

/** A cache of its own with the bundled model as Acme/mini. */
function filled(ref?: string): { cache: string; snapshot: string; folder: string } {
  const cache = join(temporary.path, `${caches++}`);
  const snapshot = fillHubCache(cache, "models--Acme--mini", mini, ref);
  return { cache, snapshot, folder: join(cache, "models--Acme--mini") };
}

const find = (text: string, cache: string) => {
  const id = parseModelId(text);
  if (id === undefined) throw new RangeError(`${text} is no model id`);
  return findInHubCache(id, cache);
};

const notFound = (text: RegExp) =>
  expect.objectContaining({
    name: "CheckpointError",
    code: "CHECKPOINT_NOT_FOUND",
    message: expect.stringMatching(text),
  });

describe("a model id", () => {
  test.each([
    ["Qwen/Qwen-7B-Chat", { organization: "Qwen", name: "Qwen-7B-Chat", revision: "main" }],
    ["a/b_1.5@v1.0", { organization: "a", name: "b_1.5", revision: "v1.0" }],
    ["a/b@refs/pr/1", { organization: "a", name: "b", revision: "refs/pr/1" }],
  ])("%s is read", (text, id) => expect(parseModelId(text)).toEqual(id));

  test.each([
    "Qwen",
    "/a/b",
    "./a/b",
    "../b",
    "a/b/c",
    "a/..",
    "a/b@",
    "a/b@../../x",
    "a/b@x/..",
    "a\\b/c",
    "",
  ])("%j is none", (text) => expect(parseModelId(text)).toBeUndefined());
});

describe("the Hugging Face cache", () => {
  test("gives the snapshot that a branch, a nested reference or a commit names, and it opens", () => {
    const { cache, snapshot } = filled();
    expect(find("Acme/mini", cache)).toBe(snapshot);
    expect(find(`Acme/mini@${cachedCommit}`, cache)).toBe(snapshot);
    expect(openCheckpoint(snapshot).tensors.size).toBeGreaterThan(0);
    const other = filled("refs/pr/7");
    expect(find("Acme/mini@refs/pr/7", other.cache)).toBe(other.snapshot);
  });

  test("without the model names the id, the cache and how to download it", () => {
    const { cache } = filled();
    expect(() => find("Acme/large", cache)).toThrow(
      notFound(/Acme\/large.*hf download Acme\/large/),
    );
    expect(() => find("Acme/large", cache)).toThrow(notFound(new RegExp(cache)));
    expect(() => find("Acme/mini", "/proc/nowhere")).toThrow(notFound(/\/proc\/nowhere/));
  });

  test("without the revision says which there are", () => {
    const { cache, folder } = filled();
    expect(() => find("Acme/mini@v2", cache)).toThrow(notFound(/v2.*01234567.*--revision v2/));
    rmSync(join(folder, "refs"), { recursive: true });
    expect(() => find("Acme/mini", cache)).toThrow(notFound(/"main"/));
  });

  test("with a snapshot that a download left incomplete names what is missing", () => {
    for (const name of ["config.json", "model-00002-of-00002.safetensors"]) {
      const { cache, snapshot, folder } = filled();
      rmSync(join(snapshot, name));
      writeFileSync(join(folder, "blobs", "abc.incomplete"), "");
      expect(() => find("Acme/mini", cache)).toThrow(
        notFound(new RegExp(`${name}.*1 of its downloads`)),
      );
    }
  });

  test("with a link whose file is gone names it", () => {
    const { cache, folder } = filled();
    rmSync(join(folder, "blobs"), { recursive: true });
    mkdirSync(join(folder, "blobs"));
    expect(() => find("Acme/mini", cache)).toThrow(notFound(/config\.json/));
  });

  test("with a reference that leads out of the cache is refused", () => {
    const { cache, folder } = filled();
    writeFileSync(join(folder, "refs", "main"), "../../../../../etc");
    expect(() => find("Acme/mini", cache)).toThrow(notFound(/refs\/main/));
  });
});
