// rank_pattern and alpha_pattern: values for modules whose names match an expression.
import { shown } from "../runtime/index.ts";
import { QuantizeError } from "./errors.ts";

// Expressions come from a stranger's file. What is let through means the same in Python and here, and cannot take
// long: a name is some thirty characters, and the ways to match it are few without repeated groups.
const allowed = /^(?:[\w.|()[\]^$*+?-]|\\[.dw])+$/;
const refused = /\(\?|\)[*+?]/;
const limits = { length: 256, repetitions: 2, groups: 2, expressions: 16, patterns: 4096 } as const;

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
  const count = (characters: RegExp) => pattern.match(characters)?.length ?? 0;
  const isSimple =
    pattern.length <= limits.length &&
    count(/[*+?]/g) <= limits.repetitions &&
    count(/\(/g) <= limits.groups;
  if (!isSimple || !allowed.test(pattern) || refused.test(pattern)) {
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
