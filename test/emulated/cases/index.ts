// Small runs of every operation, of shapes that reach all of its kernels: what the mutation check compares, bit by bit.
import type { Case } from "./case.ts";
import { inference } from "./inference.ts";
import { linears } from "./linears.ts";
import { quantization } from "./quantization.ts";

export type { Case } from "./case.ts";

export const cases: readonly Case[] = [...linears, ...inference, ...quantization];
