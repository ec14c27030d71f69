export type EncodeOptions = {
  /**
   * Surface forms read as control tokens. "all" is the reference's default; "none" (or a set) keeps
   * text that a user typed from injecting control tokens.
   */
  readonly allowedSpecial?: "all" | "none" | ReadonlySet<string>;
};

export type DecodeOptions = {
  /** Leave out control tokens. Default false. */
  readonly skipSpecial?: boolean;
  /** What invalid UTF-8 becomes: U+FFFD (default), nothing, or TOKENIZER_TEXT. */
  readonly errors?: "replace" | "ignore" | "strict";
};

export type SpecialIds = {
  readonly endOfText: number;
  readonly imStart: number;
  readonly imEnd: number;
};

/** Text to token ids and back. Nothing is added at either end: no BOS, no EOS. */
export interface Tokenizer extends Disposable {
  /** Ids 0 … vocabularySize − 1 have a token; a model's padded logits beyond it do not. */
  readonly vocabularySize: number;
  readonly specials: SpecialIds;

  /**
   * @returns ids [tokens] i32 of the NFC-normalised text; a lone surrogate counts as U+FFFD
   * @throws TokenizerError TOKENIZER_TEXT if text is not a string, TOKENIZER_OPTION if a set names
   *   a form that is not a control token
   */
  encode(text: string, options?: EncodeOptions): Int32Array;

  /** @throws TokenizerError TOKENIZER_UNKNOWN_ID, or TOKENIZER_TEXT when `errors` is "strict" */
  decode(ids: ArrayLike<number>, options?: DecodeOptions): string;

  /**
   * The bytes of one token (a control token's are its surface form). Tokens may hold part of a
   * character; the bytes of encode(text), put together, are the UTF-8 of the normalised text.
   *
   * @throws TokenizerError TOKENIZER_UNKNOWN_ID
   */
  bytesOf(id: number): Uint8Array;

  isSpecial(id: number): boolean;
}
