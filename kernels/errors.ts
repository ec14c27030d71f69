export type KernelErrorCode =
  | "KERNEL_SHAPE"
  | "KERNEL_DTYPE"
  | "KERNEL_VALUE"
  | "KERNEL_UNSUPPORTED"
  | "KERNEL_OUT_OF_MEMORY"
  | "KERNEL_FILE"
  | "KERNEL_DEVICE"
  | "KERNEL_NOT_BUILT"
  | "KERNEL_INTERNAL";

/** A kernel refused its arguments, or failed on the device. */
export class KernelError extends Error {
  static {
    KernelError.prototype.name = "KernelError";
  }
  readonly code: KernelErrorCode;

  constructor(code: KernelErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
