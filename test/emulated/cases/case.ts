import type { Device, Tensor } from "../../../kernels/index.ts";

export type Case = {
  readonly name: string;
  /** Enqueues; the results are what is compared. */
  run(device: Device): readonly Tensor[];
};
