/** Where a quantization run is. */
export type QuantizeProgress = {
  /** What is being done: "embedding", "transformer.h.3 attn.c_attn", "writing". */
  readonly label: string;
  /** Share of the whole run that is done, from 0 to 1. */
  readonly fraction: number;
};
