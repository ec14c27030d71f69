export type CalibrationErrorCode =
  | "CALIBRATION_NOT_FOUND"
  | "CALIBRATION_FORMAT"
  | "CALIBRATION_JSON"
  | "CALIBRATION_ROW"
  | "CALIBRATION_ROLE"
  | "CALIBRATION_EMPTY"
  | "CALIBRATION_OPTION"
  | "CALIBRATION_SPILL";

/** Every failure of the calibration layer; `code` is stable, the message is for people. */
export class CalibrationError extends Error {
  readonly code: CalibrationErrorCode;

  static {
    CalibrationError.prototype.name = "CalibrationError";
  }

  constructor(code: CalibrationErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
