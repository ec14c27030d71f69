import type { Tokenizer } from "../tokenizer/index.ts";

export interface Detokenizer {
  /**
   * The text that this token completes: "" while a character is still open, since a token may hold part
   * of one. Control tokens have no text unless asked for.
   */
  push(id: number): string;
  /** What is left at the end: U+FFFD if a character never completed. The detokenizer starts afresh. */
  flush(): string;
}

/**
 * Turns ids into text one at a time. All deltas and the flush, joined, equal
 * `tokenizer.decode(ids, { skipSpecial })`.
 */
export function createDetokenizer(
  tokenizer: Pick<Tokenizer, "bytesOf" | "isSpecial">,
  options: { readonly skipSpecial?: boolean } = {},
): Detokenizer {
  const { skipSpecial = true } = options;
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  return {
    push: (id) => {
      const bytes = tokenizer.bytesOf(id);
      return skipSpecial && tokenizer.isSpecial(id) ? "" : decoder.decode(bytes, { stream: true });
    },
    flush: () => decoder.decode(),
  };
}
