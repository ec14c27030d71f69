export type GenerationErrorCode =
  | "GENERATION_OPTION"
  /** The prompt is empty or holds an id the model has no row for. */
  | "GENERATION_PROMPT"
  /** Prompt and new tokens together are more than the model can hold. */
  | "GENERATION_LENGTH"
  | "GENERATION_NOT_FINITE"
  /** Too many requests wait already. */
  | "GENERATION_BUSY"
  /** The engine has ended, or failed. */
  | "GENERATION_CLOSED";

/** Every failure of the generation layer; `code` is stable, the message is for people. */
export class GenerationError extends Error {
  readonly code: GenerationErrorCode;

  static {
    GenerationError.prototype.name = "GenerationError";
  }

  constructor(code: GenerationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
