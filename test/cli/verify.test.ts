import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findFaults } from "../../cli/verify.ts";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { CommandLines, calibrationText, mini } from "./support.ts";

const temporary = temporaryDirectory();
const program = new CommandLines();
afterAll(() => {
  program[Symbol.dispose]();
  temporary.remove();
});

type Verdict = { loader: string; outcome: string; findings: { id: string }[] };
type Verification = {
  passes: boolean;
  verdicts: Verdict[];
  faults: string[];
  comparison?: { relativeError: number; isPlausible: boolean }[];
};

async function quantized(name: string, ...flags: readonly string[]): Promise<string> {
  const dir = join(temporary.path, name);
  const outcome = await program.run(["quantize", mini, "-o", dir, "-q", ...flags]);
  expect(outcome).toMatchObject({ status: 0 });
  return dir;
}

async function verified(...args: readonly string[]) {
  const { status, stdout } = await program.run(["verify", ...args, "--json"]);
  const verification = JSON.parse(stdout) as Verification;
  const outcomes = Object.fromEntries(
    verification.verdicts.map(({ loader, outcome }) => [loader, outcome]),
  );
  return { status, verification, outcomes };
}

function editTensor(dir: string, name: string, edit: (bytes: Buffer) => void): void {
  const file = join(dir, "model.safetensors");
  const bytes = readFileSync(file);
  const headerEnd = 8 + Number(bytes.readBigUInt64LE());
  const [begin, end] = JSON.parse(bytes.toString("utf8", 8, headerEnd))[name].data_offsets;
  edit(bytes.subarray(headerEnd + begin, headerEnd + end));
  writeFileSync(file, bytes);
}

const few = ["--data", calibrationText, "--samples", "4", "--length", "128"];

describe("what nibble quantize writes passes, and every loader that can takes it:", () => {
  const most = { nibble: "accepts", vllm: "warns", transformers: "warns", autogptq: "warns" };
  const asymmetric = { ...most, vllm: "refuses", autogptq: "refuses" };
  test.each<[string, readonly string[], Record<string, string>]>([
    ["int4", few, most],
    ["int8 of one group", [...few, "--bits", "8", "--group-size", "-1"], most],
    ["dynamic act-order", [...few, "--act-order", "dynamic", "--group-size", "32"], most],
    ["no extra biases, in shards", [...few, "--no-zero-bias", "--max-shard-size", "4MB"], most],
    ["bf16", ["--method", "rtn", "--dtype", "bf16"], most],
    ["asymmetric", ["--method", "rtn", "--asym"], asymmetric],
  ])("%s", async (name, flags, expected) => {
    const dir = await quantized(name.replaceAll(" ", "-"), ...flags);
    const { status, verification, outcomes } = await verified(dir, "--source", mini);
    expect(outcomes).toEqual(expected);
    expect(verification).toMatchObject({ passes: true, faults: [] });
    expect(verification.comparison).toHaveLength(40);
    expect(status).toBe(0);
  });
});

describe("nibble verify", () => {
  let dir: string;
  beforeAll(async () => {
    dir = await quantized("asymmetric-rtn", "--method", "rtn", "--asym");
  });

  test("fails on a limit only where the loader is required", async () => {
    expect(await verified(dir, "--require", "transformers")).toMatchObject({ status: 0 });
    const { status, verification } = await verified(dir, "--require", "vllm");
    expect(status).toBe(1);
    expect(verification.faults).toEqual(["vllm is required and refuses"]);
  });

  test("names loaders, rules and tensor-parallel sizes in its text", async () => {
    const int4 = await quantized("int4-text", "--method", "rtn");
    const { status, stdout, stderr } = await program.run(["verify", int4]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    for (const text of ["vLLM up to 0.23", "advice remote-code", "GPUs in vLLM  1, 2;", "passes"]) {
      expect(stdout).toContain(text);
    }
  });

  test("ends with 1 and the rule's name where a file is missing", async () => {
    const broken = await quantized("broken", "--method", "rtn");
    rmSync(join(broken, "model.safetensors"));
    const { status, stdout, stderr } = await program.run(["verify", broken, "--source", mini]);
    expect({ status, stderr }).toEqual({ status: 1, stderr: "" });
    expect(stdout).toContain("does not pass: rule loads is broken; rule readable is broken");
  });

  test("finds scales and norms that are no numbers", async () => {
    const broken = await quantized("not-finite", "--method", "rtn");
    const names = ["transformer.h.3.mlp.w1.scales", "transformer.ln_f.weight"];
    for (const name of names) editTensor(broken, name, (bytes) => bytes.writeUInt16LE(0x7e00));
    const { status, verification } = await verified(broken);
    expect({ status, faults: verification.faults }).toEqual({
      status: 1,
      faults: ["rule finite is broken"],
    });
    for (const name of names) expect(JSON.stringify(verification.verdicts)).toContain(name);
  });

  test("--source finds a broken block wherever it is", async () => {
    const broken = await quantized("zeroed", "--method", "rtn");
    editTensor(broken, "transformer.h.3.mlp.w1.qweight", (bytes) => bytes.fill(0));
    const { verification } = await verified(broken, "--source", mini);
    expect(verification.faults).toEqual([
      "transformer.h.3.mlp.w1 does not hold the source's weights",
    ]);
  });

  test("--source finds a norm and an embedding that are another model's", async () => {
    const broken = await quantized("other-floats", "--method", "rtn");
    const names = ["transformer.h.3.ln_1.weight", "transformer.wte.weight"];
    for (const name of names) editTensor(broken, name, (bytes) => bytes.fill(0x33));
    const { status, verification } = await verified(broken, "--source", mini);
    expect(status).toBe(1);
    expect([...verification.faults].sort()).toEqual(
      names.map((name) => `${name} does not hold the source's values`),
    );
  });

  test("--source finds weights under each other's names", async () => {
    const swapped = await quantized("swapped", "--method", "rtn");
    const file = join(swapped, "model.safetensors");
    const names = ["w1", "w2"].map((part) => `transformer.h.0.mlp.${part}.qweight`);
    const [w1 = "", w2 = ""] = names;
    const bytes = readFileSync(file, "latin1")
      .replace(w1, "<swap>")
      .replace(w2, w1)
      .replace("<swap>", w2);
    writeFileSync(file, bytes, "latin1");
    const { status, verification } = await verified(swapped, "--source", mini);
    expect(status).toBe(1);
    expect(verification.faults).toEqual(
      ["w1", "w2"].map((part) => `transformer.h.0.mlp.${part} does not hold the source's weights`),
    );
    expect(verification.comparison?.[0]).toMatchObject({ isPlausible: true });
  });

  test("--source finds zeros that are off by one", async () => {
    for (const name of ["config.json", "quantize_config.json"]) {
      const text = readFileSync(join(dir, name), "utf8");
      writeFileSync(join(dir, name), text.replaceAll('"gptq_v2"', '"gptq"'));
    }
    const { verification } = await verified(dir, "--source", mini);
    expect(verification.faults).toHaveLength(40);
  });
});

test("a defect counts once however many loaders name it, and advice not at all", () => {
  const finding = (id: string, kind: "defect" | "advice") => ({
    ...{ id, kind, reason: "" },
    violations: ["x"],
  });
  const verdict = (loader: string) => ({
    ...{ loader, title: "", outcome: "refuses" as const },
    findings: [finding("readable", "defect"), finding("tokenizer", "advice")],
  });
  const faults = findFaults([verdict("vllm"), verdict("autogptq")], undefined, []);
  expect(faults).toEqual(["rule readable is broken"]);
});
