import type { Tensor } from "../tensor.ts";

export type F32 = Tensor<"f32">;
export type I32 = Tensor<"i32">;
export type U8 = Tensor<"u8">;
/** What keys and values may be kept as; u8 are codes, which need grids. */
export type CacheTensor = Tensor<"f32" | "f16" | "bf16" | "u8">;
/** What weights may be stored as. */
export type FloatTensor = Tensor<"f32" | "f16" | "bf16">;
