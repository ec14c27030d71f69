export type EvaluationErrorCode =
  | "EVALUATION_TOO_SHORT"
  | "EVALUATION_OPTION"
  | "EVALUATION_DATA"
  | "EVALUATION_SANDBOX"
  | "EVALUATION_MISMATCH"
  | "EVALUATION_NOT_FINITE";

/** An evaluation cannot be made, or its numbers cannot be trusted. */
export class EvaluationError extends Error {
  static {
    EvaluationError.prototype.name = "EvaluationError";
  }
  readonly code: EvaluationErrorCode;

  constructor(code: EvaluationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
