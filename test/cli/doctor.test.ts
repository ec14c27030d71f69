import { spawnSync } from "node:child_process";
import { cpSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { choose } from "../../cli/doctor.ts";
import { emulatedLibrary } from "../support/kernels.ts";
import { repositoryPath } from "../support/shared.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { mini, nibble } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());

describe("nibble doctor", () => {
  test("tells what each operation uses on this machine", async () => {
    const { status, stdout, stderr } = await nibble(["doctor"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/^linearGptq +(avx512|avx2|reference) /m);
    for (const text of [process.version, "kernels"]) expect(stdout).toContain(text);
    // A GPU's name, or why there is none.
    expect(stdout).toMatch(/^ +GPU +\S/m);
  });

  test("--json has everything a bug report needs", async () => {
    const { stdout } = await nibble(["doctor", mini, "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({
      versions: { node: process.version },
      processor: { threads: expect.any(Number) },
      kernels: {
        works: true,
        operations: expect.arrayContaining([
          { operation: "attention", uses: expect.any(String), declined: expect.any(Array) },
        ]),
      },
      model: { dir: mini, works: true },
    });
  });

  test.each([
    [{}, /emulated GPU.* \(--device cuda:0\); without cuBLASLt and cuSOLVER$/m],
    [{ NIBBLE_CUBLASLT: "off" }, /; without cuBLASLt and cuSOLVER$/m],
    [{ NIBBLE_CUBLASLT: "/no/lib.so" }, /emulated GPU.*; cublasLt: \/no\/lib\.so/m],
  ])("tells which of NVIDIA's libraries a GPU's quantizing uses, %j", async (env, expected) => {
    const variables = { NIBBLE_CUDA_LIBRARY: emulatedLibrary, ...env };
    const { status, stdout } = await nibble(["doctor"], { env: variables });
    expect(status).toBe(0);
    expect(stdout).toMatch(expected);
  });

  test("says why a model does not open, and ends with 1", async () => {
    const { status, stdout, stderr } = await nibble(["doctor", temporary.path]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toContain("config.json is missing");
  });

  test("says so where the native kernels are not built, and ends with 1", () => {
    const copy = join(temporary.path, "unbuilt");
    const isKept = (path: string) => !path.endsWith(".node");
    cpSync(repositoryPath("dist"), join(copy, "dist"), { recursive: true, filter: isKept });
    cpSync(repositoryPath("package.json"), join(copy, "package.json"));
    symlinkSync(repositoryPath("node_modules"), join(copy, "node_modules"));
    const main = join(copy, "dist", "cli", "main.js");
    const { status, stdout } = spawnSync(process.execPath, [main, "doctor"], { encoding: "utf8" });
    expect(status).toBe(1);
    expect(stdout).toContain("npm run build:native");
  });
});

describe("the choice for an operation", () => {
  const operation = {
    operation: "linear",
    candidates: [
      { name: "avx512", needs: "avx512", isAllowed: false },
      { name: "avx2", needs: "avx2", isAllowed: true },
      { name: "reference", needs: "scalar", isAllowed: true },
    ],
  } as const;

  test("is the first allowed one, with the reason why each faster one declines", () => {
    expect(choose(operation, "avx2")).toEqual({
      operation: "linear",
      uses: "avx2",
      declined: [{ name: "avx512", reason: "needs avx512, this processor has avx2" }],
    });
  });

  test("is none where nothing is allowed", () => {
    const only = { operation: "linear", candidates: operation.candidates.slice(0, 1) };
    expect(choose(only, "scalar")).toMatchObject({ uses: undefined, declined: [{}] });
  });
});
