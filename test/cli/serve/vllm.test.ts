import { chmodSync, cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../../support/tiny-checkpoint.ts";
import { mini, nibble } from "../support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const bin = join(temporary.path, "bin");
const complete = join(temporary.path, "mini");
const called = join(temporary.path, "called");

beforeAll(() => {
  mkdirSync(bin);
  cpSync(mini, complete, { recursive: true });
  for (const name of ["configuration_qwen.py", "tokenization_qwen.py"]) {
    writeFileSync(join(complete, name), "");
  }
});

/** A program named vllm that says a version and writes down what it is called with. */
function install(version: string, status = 0): void {
  const file = join(bin, "vllm");
  writeFileSync(
    file,
    `#!/bin/sh\n[ "$1" = --version ] && { echo ${version}; exit 0; }\nprintf '%s\\n' "$VLLM_API_KEY" "$@" > ${called}\nexit ${status}\n`,
  );
  chmodSync(file, 0o755);
}

const env = { PATH: `${bin}:/usr/bin:/bin` };
const serve = (dir: string, ...args: string[]) =>
  nibble(["serve", dir, "--engine", "vllm", ...args], { env });

describe("nibble serve --engine vllm", () => {
  test("says that it is missing", async () => {
    const { status, stderr } = await nibble(["serve", complete, "--engine", "vllm"], {
      env: { PATH: "/usr/bin:/bin" },
    });
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: expect.stringContaining("vLLM is not installed"),
    });
  });

  test("says that it is too new for this family", async () => {
    install("0.24.1");
    const { status, stderr } = await serve(complete);
    expect({ status, stderr }).toEqual({
      status: 3,
      stderr: expect.stringContaining("0.23 is the last"),
    });
  });

  test("says what is missing in the directory", async () => {
    install("0.23.0");
    expect(await serve(mini)).toMatchObject({
      status: 3,
      stderr: expect.stringContaining("configuration_qwen.py"),
    });
  });

  test("hands over the directory, the key by the environment, and its status", async () => {
    install("0.22.0");
    const flags = ["--port", "9", "--tensor-parallel", "2", "--ray", "--api-key", "secret"];
    expect(await serve(complete, ...flags)).toMatchObject({ status: 0 });
    const args = readFileSync(called, "utf8").split("\n");
    expect(args.slice(0, 9)).toEqual([
      "secret",
      "serve",
      complete,
      "--served-model-name",
      "mini",
      "--host",
      "127.0.0.1",
      "--port",
      "9",
    ]);
    expect(args.join(" ")).toMatch(
      /--dtype bfloat16 .*--tensor-parallel-size 2 --distributed-executor-backend ray/,
    );
    expect(args).not.toContain("--api-key");
    install("0.22.0", 7);
    expect(await serve(complete)).toMatchObject({ status: 1 });
  });

  test("its flags alone are refused", async () => {
    const { status, stderr } = await nibble(["serve", mini, "--ray"]);
    expect({ status, stderr }).toEqual({
      status: 2,
      stderr: expect.stringContaining("--engine vllm"),
    });
  });
});
