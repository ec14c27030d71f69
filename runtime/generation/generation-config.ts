import { existsSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { CheckpointError, readJsonFile } from "../checkpoint/index.ts";
import { defaultSampling, type SamplingOptions } from "./sampling-options.ts";

/** What a model's generation_config.json recommends. */
export type GenerationConfig = {
  /** "chatml" for chat models, "raw" for base models; undefined if not said. */
  readonly chatFormat: string | undefined;
  readonly maxNewTokens: number;
  /** Limit in tokens for system block and history of a chat prompt. */
  readonly maxWindow: number;
  readonly sampling: SamplingOptions;
};

// Defaults turn sampling off; max_window_size and max_new_tokens are those of the original code.
const schema = z.object({
  chat_format: z.string().optional(),
  max_new_tokens: z.number().int().min(1).default(512),
  max_window_size: z.number().int().min(1).default(6144),
  do_sample: z.boolean().default(false),
  temperature: z.number().min(0).default(1),
  top_k: z.number().int().min(0).default(0),
  top_p: z.number().min(0).max(1).default(1),
  repetition_penalty: z.number().positive().default(1),
});

/**
 * Reads generation_config.json of a model directory; without one, greedy decoding of up to 512 tokens.
 *
 * @throws CheckpointError CHECKPOINT_CONFIG naming file and field, CHECKPOINT_READ
 */
export function readGenerationConfig(dir: string): GenerationConfig {
  const file = join(dir, "generation_config.json");
  const json = existsSync(file) ? readJsonFile(file, "CHECKPOINT_CONFIG") : {};
  // A null counts as absent.
  const given = Object.entries(json).filter(([, value]) => value !== null);
  const parsed = schema.safeParse(Object.fromEntries(given));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new CheckpointError(
      "CHECKPOINT_CONFIG",
      `${file}: field ${issue?.path.join(".") ?? ""}: ${issue?.message ?? "not valid"}`,
    );
  }
  const fields = parsed.data;
  return {
    chatFormat: fields.chat_format,
    maxNewTokens: fields.max_new_tokens,
    maxWindow: fields.max_window_size,
    sampling: {
      ...defaultSampling,
      temperature: fields.do_sample ? fields.temperature : 0,
      topK: fields.top_k,
      topP: fields.top_p,
      repetitionPenalty: fields.repetition_penalty,
    },
  };
}
