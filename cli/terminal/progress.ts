// How far a long run is: one line redrawn on a terminal, plain lines now and then anywhere else, or nothing.

import { displayWidth, formatCount, formatSeconds } from "./format.ts";

export type ProgressStyle = "live" | "plain" | "off";

/** The part of a writable stream that is used, so that tests can stand in. */
export type ProgressStream = {
  readonly columns?: number;
  write(text: string): unknown;
};

export type ProgressOptions = {
  readonly stream: ProgressStream;
  readonly style: ProgressStyle;
  /** Tokens that fraction 1 stands for, for a rate; none without. */
  readonly tokens?: number;
  /** Milliseconds of a clock. */
  readonly now?: () => number;
};

const redrawMs = 100;
const plainMs = 5000;
const plainShare = 0.1;
/** Before this, a rate and a time left would be noise. */
const settledMs = 1000;
const barCells = 20;
/** Columns below which the bar would leave no room for the rest. */
const narrow = 60;

export class Progress implements Disposable {
  readonly #stream: ProgressStream;
  readonly #style: ProgressStyle;
  readonly #tokens: number | undefined;
  readonly #now: () => number;
  readonly #started: number;
  #shownAt = Number.NEGATIVE_INFINITY;
  #shownFraction = Number.NEGATIVE_INFINITY;
  #isDrawn = false;

  constructor({ stream, style, tokens, now = () => performance.now() }: ProgressOptions) {
    this.#stream = stream;
    this.#style = style;
    this.#tokens = tokens;
    this.#now = now;
    this.#started = now();
  }

  /** @param fraction  share of the whole that is done, from 0 to 1 */
  update(label: string, fraction: number): void {
    const now = this.#now();
    if (this.#style === "off" || !this.#isDue(now, fraction)) return;
    this.#shownAt = now;
    this.#shownFraction = fraction;
    const percent = `${Math.floor(fraction * 100)} %`.padStart(5);
    const details = [label, ...this.#pace(now - this.#started, fraction)];
    if (this.#style === "plain") {
      this.#stream.write(`${percent}  ${details.join(", ")}\n`);
      return;
    }
    this.#stream.write(
      `\r\u001b[K${fitLine(percent, details, fraction, this.#stream.columns ?? 80)}`,
    );
    this.#isDrawn = true;
  }

  /** Clears the redrawn line, so that what is printed next stands alone. */
  [Symbol.dispose](): void {
    if (this.#isDrawn) this.#stream.write("\r\u001b[K");
    this.#isDrawn = false;
  }

  #isDue(now: number, fraction: number): boolean {
    if (this.#style === "live") return now - this.#shownAt >= redrawMs;
    const isFinal = fraction >= 1 && this.#shownFraction < 1;
    // The tolerance keeps sums of tenths from skipping a step.
    const isStep = fraction - this.#shownFraction >= plainShare - 1e-9;
    return isFinal || isStep || now - this.#shownAt >= plainMs;
  }

  #pace(elapsedMs: number, fraction: number): readonly string[] {
    if (elapsedMs < settledMs || fraction <= 0 || fraction >= 1) return [];
    const left = `${formatSeconds((elapsedMs / 1000) * (1 / fraction - 1))} left`;
    if (this.#tokens === undefined) return [left];
    return [`${formatCount((this.#tokens * fraction) / (elapsedMs / 1000))} tokens/s`, left];
  }
}

/** One line of fewer cells than the window has: no bar in a narrow one, and the label, which comes last, cut. */
function fitLine(
  percent: string,
  details: readonly string[],
  fraction: number,
  columns: number,
): string {
  const filled = Math.round(fraction * barCells);
  const bar = columns < narrow ? "" : `${"█".repeat(filled)}${"░".repeat(barCells - filled)}`;
  const [label = "", ...pace] = details;
  const line = `${bar}${percent}  ${[...pace, label].join("  ")}`;
  // The terminal shows Ctrl-C as ^C; a line that broke there could not be cleared.
  const limit = Math.max(10, columns - 3);
  return displayWidth(line) <= limit ? line : `${line.slice(0, limit - 1)}…`;
}
