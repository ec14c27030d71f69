// nibble serve --engine vllm: the same model behind an installed vLLM, for GPUs and machines that ours does not reach.
import { spawn, spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { checkLoaders, openCheckpoint, readQuantizationConfig } from "../../runtime/index.ts";
import { InputError, NegativeOutcome } from "../errors.ts";
import type { Output } from "../terminal/output.ts";
import { nameOf } from "./model-details.ts";
import type { ServerFlags } from "./server-flags.ts";

export type VllmFlags = ServerFlags & {
  readonly name?: string;
  readonly tensorParallel?: number;
  readonly ray?: boolean;
};

/** The last release that has QWenLMHeadModel (vLLM PR #45131 took it out). */
const lastVersion = [0, 23] as const;

/** Qwen v1's tokenizer has no template of its own. On one line, as vLLM takes it without a file. */
const chatTemplate =
  "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{% endif %}" +
  "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}" +
  "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";

/**
 * Hands the directory to vLLM and waits for its end.
 *
 * @throws InputError if vLLM is missing, too new, or by its rules would not load this model; NegativeOutcome if it fails
 */
export async function serveWithVllm(
  dir: string,
  flags: VllmFlags,
  { output, signal }: { readonly output: Output; readonly signal: AbortSignal },
): Promise<void> {
  requireVersion();
  requireLoadable(dir, flags.tensorParallel ?? 1);
  const args = vllmArguments(dir, flags);
  output.note(`vllm ${args.map((arg) => (/[\s{]/.test(arg) ? "…" : arg)).join(" ")}`);
  const key = flags.apiKey === undefined ? {} : { VLLM_API_KEY: flags.apiKey };
  const child = spawn("vllm", args, { stdio: "inherit", env: { ...process.env, ...key } });
  signal.addEventListener("abort", () => child.kill("SIGTERM"), { once: true });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject).once("exit", resolve);
  });
  if (status !== 0 && !signal.aborted) throw new NegativeOutcome();
}

/** What vLLM is called with; the key goes by the environment, where other users of the machine cannot see it. */
export function vllmArguments(dir: string, flags: VllmFlags): readonly string[] {
  const { host, port, tensorParallel = 1, ray = false } = flags;
  const isQuantized = readQuantization(dir) !== undefined;
  return [
    ...["serve", dir, "--served-model-name", flags.name ?? nameOf(dir)],
    ...["--host", host, "--port", String(port)],
    // The model's configuration and tokenizer are Python files beside the weights.
    "--trust-remote-code",
    ...["--dtype", isQuantized ? "float16" : "bfloat16"],
    ...["--chat-template", chatTemplate],
    ...(tensorParallel > 1 ? ["--tensor-parallel-size", String(tensorParallel)] : []),
    ...(ray ? ["--distributed-executor-backend", "ray"] : []),
  ];
}

function requireVersion(): void {
  const asked = spawnSync("vllm", ["--version"], { encoding: "utf8" });
  if (asked.error !== undefined) {
    throw new InputError(
      `vLLM is not installed, or not on the PATH (${asked.error.message}); pip install "vllm<=${lastVersion.join(".")}.*", ` +
        "or leave --engine out",
    );
  }
  const [version = "", major = "", minor = ""] = /(\d+)\.(\d+)(?:\.\S+)?/.exec(asked.stdout) ?? [];
  if (asked.status !== 0 || version === "") {
    throw new InputError(`vllm --version failed: ${(asked.stderr || asked.stdout).trim()}`);
  }
  const isTooNew =
    Number(major) > lastVersion[0] ||
    (Number(major) === lastVersion[0] && Number(minor) > lastVersion[1]);
  if (!isTooNew) return;
  throw new InputError(
    `vLLM ${version} has no QWenLMHeadModel any more; ${lastVersion.join(".")} is the last that has: ` +
      `pip install "vllm<=${lastVersion.join(".")}.*", or leave --engine out`,
  );
}

/** By the rules that `nibble verify` judges by. */
function requireLoadable(dir: string, tensorParallel: number): void {
  if (readQuantization(dir) === undefined) {
    const missing = ["configuration_qwen.py", "tokenization_qwen.py"].filter(
      (name) => !existsSync(join(dir, name)),
    );
    if (missing.length === 0) return;
    throw new InputError(
      `${dir}: vLLM needs ${missing.join(" and ")} beside the weights; copy them from the original model`,
    );
  }
  const { verdicts, tensorParallel: sizes } = checkLoaders(dir);
  const verdict = verdicts.find(({ loader }) => loader === "vllm");
  const reasons = (verdict?.findings ?? [])
    .filter(({ kind, id }) => kind !== "advice" || id === "remote-code")
    .map(({ reason, violations }) => `${reason} (${violations[0]})`);
  const split = sizes.find(({ size }) => size === tensorParallel);
  if (split?.problem !== undefined) reasons.push(`on ${tensorParallel} GPUs: ${split.problem}`);
  if (reasons.length === 0) return;
  throw new InputError(
    `${dir}: vLLM would not serve it: ${reasons.join("; ")}. nibble verify says more`,
  );
}

function readQuantization(dir: string): ReturnType<typeof readQuantizationConfig> {
  const { config } = openCheckpoint(dir);
  return readQuantizationConfig(dir, config);
}
