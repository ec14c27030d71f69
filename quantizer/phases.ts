/** What a run's time goes to: tensors that stay floats, blocks on calibration tokens, Hessians, codes. */
export const phaseNames = ["convert", "forward", "hessian", "solve"] as const;
export type PhaseName = (typeof phaseNames)[number];
export type PhaseSeconds = Readonly<Record<PhaseName, number>>;

/** Seconds by phase. */
export class PhaseTimes {
  readonly #seconds: Record<PhaseName, number> = { convert: 0, forward: 0, hessian: 0, solve: 0 };

  get seconds(): PhaseSeconds {
    return { ...this.#seconds };
  }

  /** Runs an action and counts its time; one that only enqueues has to wait for the device itself. */
  async time<Result>(phase: PhaseName, action: () => Promise<Result>): Promise<Result> {
    const started = performance.now();
    try {
      return await action();
    } finally {
      this.#seconds[phase] += (performance.now() - started) / 1000;
    }
  }
}
