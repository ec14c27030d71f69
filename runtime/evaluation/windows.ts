/** A stretch of a text that is scored in one pass. */
export type Window = {
  readonly tokens: Int32Array;
  /** Index within `tokens` of the first token that counts; those before it are context. At least 1. */
  readonly firstScored: number;
};

/**
 * Cuts a token stream into windows. The first window scores all but its first token; each later one begins `stride`
 * tokens after its predecessor and scores only tokens no window before it has scored. With a stride equal to the length
 * the windows do not overlap and each scores all but its first token. A tail that does not fill a window is dropped.
 */
export function cutWindows(
  tokens: Int32Array,
  options: { readonly length: number; readonly stride: number },
): readonly Window[] {
  const { length, stride } = options;
  const windows: Window[] = [];
  for (let start = 0; start + length <= tokens.length; start += stride) {
    const overlap = start === 0 ? 0 : length - stride;
    windows.push({
      tokens: tokens.subarray(start, start + length),
      firstScored: Math.max(1, overlap),
    });
  }
  return windows;
}
