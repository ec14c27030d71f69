import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { calibrationText, evaluationText, mini, nibble } from "./support.ts";

const temporary = temporaryDirectory();
afterAll(() => temporary.remove());
const at = (name: string) => join(temporary.path, name);
const small = ["--samples", "6", "--length", "64"];

describe("nibble calibrate", () => {
  test("tells what data comes to, the same from every folder for the bundled set", async () => {
    const bundled = await nibble(["calibrate", mini, "--data", "example", "--json"]);
    const named = await nibble(["calibrate", mini, "--data", calibrationText, "--json"]);
    expect(bundled.status).toBe(0);
    const summary = JSON.parse(bundled.stdout);
    expect(summary).toEqual(JSON.parse(named.stdout));
    expect(summary).toMatchObject({ segments: 71, vocabulary: 4096 });
    expect(summary.sources[0].documents).toEqual({ text: 19, conversation: 67, tokens: 0 });
    expect(summary.counted).toBe(summary.tokens);
  });

  test("marks what counts in a preview, without control characters", async () => {
    const args = ["calibrate", mini, "--data", "example", "--tokens", "assistant"];
    const { stdout } = await nibble([...args, "--preview", "9"]);
    expect(stdout.match(/^segment \d: \d+ tokens/gm)?.length).toBe(9);
    expect(stdout).toMatch(/<\|im_start\|>⟧user\n/);
    const { preview } = JSON.parse((await nibble([...args, "--preview", "9", "--json"])).stdout);
    for (const { pieces, counted, tokens } of preview) {
      expect(pieces.some((piece: { counts: boolean }) => !piece.counts)).toBe(counted < tokens);
    }
  });

  test("keeps segments that quantize uses as it would the data", async () => {
    const data = [
      "--data",
      "example=2",
      "--data",
      evaluationText,
      "--tokens",
      "assistant",
      ...small,
    ];
    const kept = await nibble(["calibrate", mini, ...data, "-o", at("kept.safetensors"), "--json"]);
    expect(
      JSON.parse(kept.stdout).sources.map(({ segments }: { segments: number }) => segments),
    ).toEqual([4, 2]);
    const runs = [data, ["--data", at("kept.safetensors")]].entries();
    for (const [i, flags] of runs) {
      expect((await nibble(["quantize", mini, ...flags, "-q", "-o", at(`${i}`)])).status).toBe(0);
    }
    const files = (dir: string) =>
      readdirSync(at(dir))
        .filter((name) => !name.startsWith("report."))
        .map((name) => [name, readFileSync(at(join(dir, name))).toString("base64")]);
    expect(files("1")).toEqual(files("0"));
    const report = JSON.parse(readFileSync(at("0/report.json"), "utf8"));
    expect(report.calibration.counted).toBe(JSON.parse(kept.stdout).counted);
  }, 60_000);

  test.each<[string, readonly string[], string]>([
    ["no data", [], "--data"],
    ["a weight that is none", ["--data", "example=0"], "--data example=0"],
    ["an unknown scope", ["--data", "example", "--tokens", "users"], "--tokens"],
    ["another kind of output", ["--data", "example", "-o", at("x.json")], "x.json"],
  ])("says that the command line is wrong: %s", async (_, flags, named) => {
    const { status, stderr } = await nibble(["calibrate", mini, ...flags]);
    expect(status).toBe(2);
    expect(stderr).toContain(named);
    expect(existsSync(at("x.json"))).toBe(false);
  });
});
