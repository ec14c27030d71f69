/** Element types of tensors. Arithmetic is in f32; the 16-bit floats and integers are storage. */
export type DType = "f32" | "bf16" | "f16" | "i32" | "i64" | "u8";

/** The typed array that carries a dtype's elements; 16-bit floats travel as their bits. */
export type DTypeArray = {
  readonly f32: Float32Array<ArrayBuffer>;
  readonly bf16: Uint16Array<ArrayBuffer>;
  readonly f16: Uint16Array<ArrayBuffer>;
  readonly i32: Int32Array<ArrayBuffer>;
  readonly i64: BigInt64Array<ArrayBuffer>;
  readonly u8: Uint8Array<ArrayBuffer>;
};

type ArrayConstructor<T extends DType> = {
  new (buffer: ArrayBuffer): DTypeArray[T];
  readonly BYTES_PER_ELEMENT: number;
};

/** Constructor of each dtype's typed array; its BYTES_PER_ELEMENT is the size of an element. */
export const arrayOf: { readonly [T in DType]: ArrayConstructor<T> } = {
  f32: Float32Array,
  bf16: Uint16Array,
  f16: Uint16Array,
  i32: Int32Array,
  i64: BigInt64Array,
  u8: Uint8Array,
};
