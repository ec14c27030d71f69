import { detectedIsa, type Isa, isaLevels } from "./device.ts";
import { KernelError } from "./errors.ts";
import { call } from "./native.ts";

/** One implementation of an operation on this machine. */
export type Candidate = {
  readonly name: string;
  readonly needs: Isa;
  /** Whether the processor has the instructions; what a call's shapes allow is decided at each call. */
  readonly isAllowed: boolean;
};

export type OperationCandidates = {
  readonly operation: string;
  /** Fastest first: the first that is allowed runs. */
  readonly candidates: readonly Candidate[];
};

/**
 * The implementations of every operation that has more than plain loops, by name of the operation.
 *
 * @throws KernelError KERNEL_NOT_BUILT
 */
export function candidates(): readonly OperationCandidates[] {
  const present = isaLevels.indexOf(detectedIsa());
  const operations = new Map<string, Candidate[]>();
  for (const [operation, name, level] of call((addon) => addon.candidates())) {
    const needs = isaLevels.find((known) => known === level);
    if (needs === undefined) throw new KernelError("KERNEL_INTERNAL", `unknown level "${level}"`);
    const listed = operations.get(operation) ?? [];
    operations.set(operation, listed);
    listed.push({ name, needs, isAllowed: isaLevels.indexOf(needs) <= present });
  }
  return [...operations]
    .map(([operation, listed]) => ({ operation, candidates: listed }))
    .sort((a, b) => (a.operation < b.operation ? -1 : 1));
}

/**
 * Instruction-set extensions of this processor that matter here, such as "avx2".
 *
 * @throws KernelError KERNEL_NOT_BUILT
 */
export function cpuFeatures(): readonly string[] {
  return call((addon) => addon.cpuFeatures());
}
