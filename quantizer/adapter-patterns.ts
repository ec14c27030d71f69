// rank_pattern and alpha_pattern: values for modules whose names match an expression.
import { isSafePattern, shown } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";

const limits = { repetitions: 2, groups: 2, expressions: 16, patterns: 4096 } as const;

/** Values by expression; the first that matches a name, from its start or after a dot, to its end, counts. */
export class PatternTable {
  readonly #rows: readonly { readonly expression: RegExp; readonly value: number }[];
  readonly #initial: number;

  /**
   * @param where  file and field, for messages
   * @throws QuantizeError QUANTIZE_ADAPTER for an expression that is malformed, QUANTIZE_ADAPTER_KIND for one too
   *   complicated
   * @see get_pattern_key in src/peft/utils/other.py of huggingface/peft
   */
  constructor(patterns: Readonly<Record<string, number>>, initial: number, where: string) {
    this.#initial = initial;
    const rows = Object.entries(patterns);
    const expressions = rows.filter(([pattern]) => !/^[\w.]+$/.test(pattern));
    if (rows.length > limits.patterns || expressions.length > limits.expressions) {
      throw new QuantizeError(
        "QUANTIZE_ADAPTER_KIND",
        `${where}: ${rows.length} patterns, ${expressions.length} of them more than a name; expected at most ` +
          `${limits.patterns} and ${limits.expressions}`,
      );
    }
    this.#rows = rows.map(([pattern, value]) => ({ expression: compile(pattern, where), value }));
  }

  get(name: string): number {
    return this.#rows.find(({ expression }) => expression.test(name))?.value ?? this.#initial;
  }
}

function compile(pattern: string, where: string): RegExp {
  if (!isSafePattern(pattern, limits)) {
    throw new QuantizeError(
      "QUANTIZE_ADAPTER_KIND",
      `${where}: pattern ${shown(pattern)} is not supported; expected a module's name, or an expression with at most ` +
        `${limits.repetitions} repetitions and ${limits.groups} groups`,
    );
  }
  try {
    return new RegExp(`^(?:.*\\.)?(?:${pattern})$`, "u");
  } catch (cause) {
    throw new QuantizeError(
      "QUANTIZE_ADAPTER",
      `${where}: pattern ${shown(pattern)} is no valid expression`,
      { cause },
    );
  }
}
