// What a rule is, and what loaders make of a directory by theirs.

import type { Subject } from "./subject.ts";

/**
 * "defect": the directory contradicts itself or the format, so the loader fails or computes something else.
 * "limit": well-formed, but this loader does not do it.
 * "advice": it loads; something is slower, or has to be added by hand.
 */
export type RuleKind = "defect" | "limit" | "advice";

export type Rule = {
  /** Kebab-case; the same in every loader that has the rule. */
  readonly id: string;
  readonly kind: RuleKind;
  /** One line for people: what the loader wants. */
  readonly reason: string;
  /** @returns one line per violation, naming file, tensor or field; none if the rule holds or cannot be judged */
  violations(subject: Subject): readonly string[];
};

/** A program that loads GPTQ directories: one file exporting one of these, and an entry in index.ts. */
export type Loader = {
  readonly name: "vllm" | "transformers" | "autogptq";
  /** With the versions meant. */
  readonly title: string;
  readonly rules: readonly Rule[];
};

export type Finding = Pick<Rule, "id" | "kind" | "reason"> & {
  readonly violations: readonly string[];
};

export type Verdict = {
  readonly loader: string;
  readonly title: string;
  readonly outcome: "accepts" | "warns" | "refuses";
  /** The rules that do not hold, in the loader's order. */
  readonly findings: readonly Finding[];
};

export function judge(loader: Loader, subject: Subject): Verdict {
  const findings = loader.rules.flatMap(({ id, kind, reason, violations }): readonly Finding[] => {
    const found = violations(subject);
    return found.length === 0 ? [] : [{ id, kind, reason, violations: found }];
  });
  const isRefused = findings.some(({ kind }) => kind !== "advice");
  const soft = findings.length === 0 ? "accepts" : "warns";
  const { name, title } = loader;
  return { loader: name, title, outcome: isRefused ? "refuses" : soft, findings };
}
