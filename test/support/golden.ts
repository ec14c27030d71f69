import { readSafetensorsHeader, readTensorBytes } from "../../runtime/checkpoint/index.ts";
import { sharedPath } from "./shared.ts";

export type GoldenFile = {
  readonly names: readonly string[];
  f32(name: string): Float32Array<ArrayBuffer>;
  i32(name: string): Int32Array<ArrayBuffer>;
  u8(name: string): Uint8Array<ArrayBuffer>;
  /** I64 values, which in these files are all token ids, or I32 */
  ids(name: string): Int32Array<ArrayBuffer>;
  shape(name: string): readonly number[];
};

/** A safetensors file of expected results. */
export function openGolden(path: string): GoldenFile {
  const { tensors } = readSafetensorsHeader(path);
  const entryOf = (name: string) => {
    const entry = tensors.get(name);
    if (entry === undefined) throw new Error(`${path} has no tensor ${name}`);
    return entry;
  };
  const bytes = (name: string) => readTensorBytes(entryOf(name)).slice().buffer;
  return {
    names: [...tensors.keys()],
    f32: (name) => new Float32Array(bytes(name)),
    i32: (name) => new Int32Array(bytes(name)),
    u8: (name) => new Uint8Array(bytes(name)),
    ids: (name) =>
      entryOf(name).dtype === "I64"
        ? Int32Array.from(new BigInt64Array(bytes(name)), Number)
        : new Int32Array(bytes(name)),
    shape: (name) => entryOf(name).shape,
  };
}

/** A file of reference results, or undefined (said once) where they are not at hand. */
export function sharedGolden(name: string): GoldenFile | undefined {
  const path = sharedPath("golden", name);
  if (path === undefined) console.warn(`skipped: reference results ${name} are not at hand`);
  return path === undefined ? undefined : openGolden(path);
}
