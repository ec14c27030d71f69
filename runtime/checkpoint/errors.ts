export type CheckpointErrorCode =
  /** A directory, or a file it must hold, is not there. */
  | "CHECKPOINT_NOT_FOUND"
  /** The operating system refused to read a file that exists. */
  | "CHECKPOINT_READ"
  /** A weight file is not the one that was opened any more. */
  | "CHECKPOINT_CHANGED"
  /** A weight file ends before the bytes its header promises. */
  | "CHECKPOINT_TRUNCATED"
  /** A safetensors header, a PyTorch file or a shard index breaks the format. */
  | "CHECKPOINT_HEADER"
  /** A tensor is missing, or has another dtype or shape than the model needs. */
  | "CHECKPOINT_TENSOR"
  /** A Git LFS pointer stands where a weight file should be. */
  | "CHECKPOINT_LFS_POINTER"
  /** config.json or the quantization config is malformed or contradicts itself. */
  | "CHECKPOINT_CONFIG"
  /** Well-formed, but a model, dtype or format that is not supported. */
  | "CHECKPOINT_UNSUPPORTED"
  /** A checkpoint cannot be written, or is being written wrongly. */
  | "CHECKPOINT_WRITE";

/** The one error of this folder; `code` is what callers and tests match. */
export class CheckpointError extends Error {
  readonly code: CheckpointErrorCode;

  constructor(code: CheckpointErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
CheckpointError.prototype.name = "CheckpointError";

/** A name or value read from a file, cut and escaped so that it cannot flood or reprogram a terminal. */
export function shown(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  const cut = text.length > 160 ? `${text.slice(0, 160)}…` : text;
  return cut.replace(
    /[\u007f-\u009f]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
