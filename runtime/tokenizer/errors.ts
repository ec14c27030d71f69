export type TokenizerErrorCode =
  | "TOKENIZER_NOT_FOUND"
  | "TOKENIZER_LFS_POINTER"
  | "TOKENIZER_VOCABULARY"
  | "TOKENIZER_UNKNOWN_ID"
  | "TOKENIZER_TEXT"
  | "TOKENIZER_OPTION"
  | "TOKENIZER_CLOSED";

/** Every failure of the tokenizer layer; `code` is stable, the message is for people. */
export class TokenizerError extends Error {
  readonly code: TokenizerErrorCode;

  static {
    TokenizerError.prototype.name = "TokenizerError";
  }

  constructor(code: TokenizerErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
