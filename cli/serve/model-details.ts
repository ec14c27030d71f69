// What a server tells of its model.
import { basename, resolve } from "node:path";
import type { Model, ServedModel } from "../../runtime/index.ts";
import { describeDevice } from "../compute-device.ts";

/** A directory's own name; of the Hugging Face cache's, that of the model. */
export function nameOf(dir: string): string {
  const path = resolve(dir);
  const cached = /models--([^/\\]+)--([^/\\]+)[/\\]snapshots[/\\][^/\\]+$/.exec(path);
  return cached === null ? basename(path) : `${cached[1]}/${cached[2]}`;
}

export function detailsOf(model: Model): ServedModel["details"] {
  const { quantization, kvCache, device } = model;
  return {
    quantization: quantization === undefined ? "float" : describeQuantization(quantization),
    kvCache,
    device: describeDevice(device),
  };
}

function describeQuantization({
  bits,
  groupSize,
}: {
  readonly bits: number;
  readonly groupSize: number;
}): string {
  return `int${bits}, ${groupSize > 0 ? `groups of ${groupSize}` : "a group per channel"}`;
}
