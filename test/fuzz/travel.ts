// Goes through a model directory as far as a user would.

import { join } from "node:path";
import { type Device, KernelError } from "../../kernels/index.ts";
import { openAdapter, QuantizeError } from "../../quantizer/index.ts";
import {
  CheckpointError,
  checkLoaders,
  inspectCheckpoint,
  loadEveryBlock,
  openCheckpoint,
  openModel,
  openQwenTokenizer,
  readGenerationConfig,
  readTensorBytes,
  TokenizerError,
  type WeightOverlay,
} from "../../runtime/index.ts";
import { sequenceLogits } from "../support/logits.ts";
import type { Part } from "./subjects.ts";

type Step = (dir: string, device: Device) => unknown;

const probe = Int32Array.of(1, 0, 2);

async function run(dir: string, device: Device, overlay?: WeightOverlay): Promise<void> {
  using model = openModel(dir, device, { overlay });
  await sequenceLogits(model, probe);
}

const steps: Readonly<Record<Part, Readonly<Record<string, Step>>>> = {
  model: {
    inspect: inspectCheckpoint,
    checkLoaders,
    tensors: (dir) => {
      for (const entry of openCheckpoint(dir).tensors.values()) readTensorBytes(entry);
    },
    loadEveryBlock,
    run,
  },
  tokenizer: {
    tokenizer: (dir) => {
      using tokenizer = openQwenTokenizer(dir);
      const text = "The quick 狐狸\n<|im_end|> 1234";
      const back = tokenizer.decode(tokenizer.encode(text));
      if (back !== text) throw new Error(`${JSON.stringify(back)} came back`);
    },
  },
  generation: { readGenerationConfig },
  adapter: {
    adapter: async (dir, device) => {
      using adapter = await openAdapter(join(dir, "adapter"), dir, device);
      await run(dir, device, adapter);
    },
  },
};

/** What each step came to: "ok", or the code of the error that it is allowed to end with. */
export async function travel(
  dir: string,
  device: Device,
  parts: ReadonlySet<Part>,
): Promise<readonly string[]> {
  const outcomes: string[] = [];
  for (const part of parts) {
    for (const [name, step] of Object.entries(steps[part])) {
      outcomes.push(await outcomeOf(name, () => step(dir, device)));
    }
  }
  return outcomes;
}

async function outcomeOf(name: string, step: () => unknown): Promise<string> {
  try {
    await step();
    return "ok";
  } catch (error) {
    const code = inputCode(error);
    if (code === undefined) throw new Error(`${name}: ${error}`, { cause: error });
    const { message } = error as Error;
    if (!/^\P{Cc}+$/u.test(message))
      throw new Error(`${name}: ${code} says ${JSON.stringify(message)}`);
    return code;
  }
}

/** The code of an error that blames a file; undefined for one that only a bug explains. */
function inputCode(error: unknown): string | undefined {
  if (error instanceof CheckpointError || error instanceof QuantizeError) return error.code;
  if (error instanceof TokenizerError) {
    return /_(NOT_FOUND|LFS_POINTER|VOCABULARY)$/.test(error.code) ? error.code : undefined;
  }
  if (error instanceof KernelError) {
    return /_(FILE|OUT_OF_MEMORY)$/.test(error.code) ? error.code : undefined;
  }
  return undefined;
}
