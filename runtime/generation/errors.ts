export type GenerationErrorCode = "GENERATION_OPTION" | "GENERATION_NOT_FINITE";

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
