// Guessing the next tokens from the text so far: what followed the last few tokens where they stood before. (Saxena's
// "prompt lookup decoding", 2023: speculative decoding, Leviathan et al., arXiv:2211.17192, without a second model.)

/** Tokens that must recur; more of them guess better, fewer guess more often. */
const longPattern = 3;
const shortPattern = 2;

/** Steps without a guess after one of which nothing was right: doubled each time, up to this. */
const longestPause = 16;

export const defaultLookupLength = 7;

/**
 * Proposes tokens for one request. A model computes proposals in one step, some rows for little more than the price of one, and
 * keeps those that it would have chosen itself: the result is the same with or without.
 */
export class PromptLookup {
  readonly #longest: number;
  readonly #positions = new Map<string, number>();
  #indexed = 0;
  #length = 2;
  #pause = 0;
  #nextPause = 1;
  #waiting = false;

  /** Steps in which tokens were proposed. */
  steps = 0;
  proposed = 0;
  /** Of those proposed, tokens that were chosen. */
  accepted = 0;

  /** @param longest  tokens to propose at most */
  constructor(longest: number = defaultLookupLength) {
    this.#longest = longest;
  }

  /**
   * @param history  prompt and generated tokens so far; the same list each time, longer
   * @param limit    how many proposals there is room for
   */
  propose(history: readonly number[], limit: number): readonly number[] {
    this.#index(history);
    if (this.#pause > 0) {
      this.#pause -= 1;
      return [];
    }
    const from = this.#find(history, longPattern) ?? this.#find(history, shortPattern);
    if (from === undefined) return [];
    const tokens = history.slice(from, from + Math.min(this.#length, limit));
    if (tokens.length > 0) {
      this.steps += 1;
      this.proposed += tokens.length;
      this.#waiting = true;
    }
    return tokens;
  }

  /** Tells how many of the last proposal's tokens were chosen, so that the next is as long as seems worth it. */
  settle(proposed: number, accepted: number): void {
    if (!this.#waiting) return;
    this.#waiting = false;
    this.accepted += accepted;
    if (accepted === 0) {
      this.#pause = this.#nextPause;
      this.#nextPause = Math.min(longestPause, 2 * this.#nextPause);
      this.#length = 1;
      return;
    }
    this.#nextPause = 1;
    const wanted = accepted === proposed ? 2 * proposed + 1 : accepted;
    this.#length = Math.min(this.#longest, wanted);
  }

  /** Where what followed the last `size` tokens begins, at their latest earlier place. */
  #find(history: readonly number[], size: number): number | undefined {
    if (history.length < size) return undefined;
    return this.#positions.get(history.slice(-size).join());
  }

  /** All patterns that end before the last token: one at the end has nothing that follows. */
  #index(history: readonly number[]): void {
    for (; this.#indexed < history.length - 1; this.#indexed++) {
      const end = this.#indexed + 1;
      for (const size of [shortPattern, longPattern]) {
        if (end >= size) this.#positions.set(history.slice(end - size, end).join(), end);
      }
    }
  }
}
