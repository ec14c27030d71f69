// Who may write to an output directory, and what stays of it.
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openDevice } from "../../kernels/index.ts";
import type { QuantizationReport } from "../../quantizer/index.ts";
import { type TemporaryDirectory, temporaryDirectory } from "../support/tiny-checkpoint.ts";
import { quantize, writeTinyModel } from "./quantized.ts";

let root: TemporaryDirectory;
let source = "";
beforeAll(() => {
  root = temporaryDirectory();
  source = writeTinyModel(join(root.path, "source"));
});
afterAll(() => root.remove());

async function run(output: string, bits: 4 | 8 = 4): Promise<QuantizationReport> {
  using device = openDevice({ threads: 1 });
  const recipe = { bits, groupSize: 32, method: "rtn" } as const;
  return await quantize({ source, output, device, segments: [], recipe });
}

/** A process that does nothing until it is killed. */
function idleProcess() {
  const child = spawn(process.execPath, ["-e", "setInterval(() => {}, 1000)"]);
  return { pid: child.pid ?? 0, kill: () => child.kill("SIGKILL") && once(child, "exit") };
}

/** An output directory with the lock that a process, by default one running here, would hold. */
function lockedDirectory(name: string, pid: number, host = hostname(), started = startOf(pid)) {
  const dir = join(root.path, name);
  mkdirSync(dir);
  const lock = join(dir, `.nibble-lock-${host}-${pid}-${started}.partial`);
  writeFileSync(lock, "");
  return { dir, lock };
}

function startOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? "";
}

const isInUse = { name: "QuantizeError", code: "QUANTIZE_IN_USE" };
const locksIn = (dir: string) => readdirSync(dir).filter((name) => name.startsWith(".nibble"));

describe("an output directory", () => {
  test("serves one of two runs at once, whose result is whole", async () => {
    const dir = join(root.path, "twice");
    const [first, second] = await Promise.allSettled([run(dir, 4), run(dir, 8)]);
    expect(first?.status).toBe("fulfilled");
    expect(second).toMatchObject({ status: "rejected", reason: isInUse });
    expect(readdirSync(dir)).toContain("model.safetensors.index.json");
    expect(JSON.parse(readFileSync(join(dir, "quantize_config.json"), "utf8")).bits).toBe(4);
    expect(locksIn(dir)).toEqual([]);
  });

  test("is refused while another process holds it, and free once that is killed", async () => {
    const holder = idleProcess();
    const { dir, lock } = lockedDirectory("held", holder.pid);
    await expect(run(dir)).rejects.toMatchObject(isInUse);
    expect(locksIn(dir)).toHaveLength(1);
    await holder.kill();
    expect(existsSync(lock)).toBe(true);
    await run(dir);
    expect(locksIn(dir)).toEqual([]);
  });

  test("is not held by another process that was given the holder's number", async () => {
    const other = idleProcess();
    const { dir } = lockedDirectory("reused", other.pid, hostname(), "1");
    await run(dir);
    await other.kill();
    expect(locksIn(dir)).toEqual([]);
  });

  test("held from another host is refused, for nobody here can tell whether it still is", async () => {
    const { dir, lock } = lockedDirectory("far", 1, `not-${hostname()}`);
    await expect(run(dir)).rejects.toMatchObject(isInUse);
    await expect(run(dir)).rejects.toThrow(lock);
  });

  test("that is a link to nothing is refused as such", async () => {
    const dir = join(root.path, "link");
    symlinkSync(join(root.path, "nowhere"), dir);
    await expect(run(dir)).rejects.toMatchObject({ code: "QUANTIZE_OUTPUT" });
  });

  test("that cannot be created leaves none of its parents", async () => {
    const parents = join(root.path, "parents");
    await expect(run(join(parents, "deeper", "x".repeat(300)))).rejects.toMatchObject({
      name: "QuantizeError",
      code: "QUANTIZE_OUTPUT",
    });
    expect(existsSync(parents)).toBe(false);
  });
});
