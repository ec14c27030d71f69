// What a report needs of a quantized model's report.json; those of older and newer versions are read as well.
import { z } from "zod";

export type LinearError = {
  readonly name: string;
  readonly method: string;
  readonly bits: number;
  readonly groupSize: number;
  /** Squared output error over squared output on the calibration tokens; null without tokens */
  readonly relativeError: number | null;
  readonly fallback: string | null;
};

export type QuantizationCopy = {
  readonly nibble: string;
  readonly command?: string | undefined;
  readonly source: string;
  /** The file of Hessians that was used in the place of calibration data */
  readonly statistics?: string | undefined;
  /** As it is in the file: which fields there are depends on the version. */
  readonly recipe: Readonly<Record<string, unknown>>;
  readonly calibration: { readonly segments: number; readonly tokens: number };
  readonly linears: readonly LinearError[];
  readonly seconds: number;
};

const optional = <Value>(schema: z.ZodType<Value>): z.ZodType<Value | null> =>
  schema.nullish().transform((value) => value ?? null);

const linear: z.ZodType<LinearError> = z.object({
  ...{ name: z.string(), method: z.string(), bits: z.number(), groupSize: z.number() },
  ...{ relativeError: optional(z.number()), fallback: optional(z.string()) },
});

export const quantizationCopy: z.ZodType<QuantizationCopy> = z.object({
  ...{ nibble: z.string(), command: z.string().optional(), source: z.string() },
  statistics: z.string().optional(),
  recipe: z.record(z.string(), z.unknown()),
  calibration: z.object({ segments: z.number(), tokens: z.number() }),
  ...{ linears: z.array(linear), seconds: z.number() },
});
