import { dotTolerance, norm } from "./tolerance.ts";

export type LinearCase = {
  readonly rows: number;
  readonly in: number;
  readonly out: number;
  /** [rows, in] */
  readonly x: ArrayLike<number>;
  /** [out, in] */
  readonly weight: ArrayLike<number>;
  /** [out] */
  readonly bias: ArrayLike<number> | undefined;
};

/** x · weightᵀ + bias in double precision. */
export function expectedLinear(c: LinearCase): Float64Array {
  const y = new Float64Array(c.rows * c.out);
  for (let r = 0; r < c.rows; r++) {
    for (let o = 0; o < c.out; o++) {
      let sum = c.bias?.[o] ?? 0;
      for (let i = 0; i < c.in; i++) sum += c.x[r * c.in + i]! * c.weight[o * c.in + i]!;
      y[r * c.out + o] = sum;
    }
  }
  return y;
}

/** The bound for each element of y; the bias counts as one more input. */
export function linearTolerance(c: LinearCase): (index: number) => number {
  const xNorms = Array.from({ length: c.rows }, (_, r) => Math.hypot(norm(c.x, r * c.in, c.in), 1));
  const weightNorms = Array.from({ length: c.out }, (_, o) =>
    Math.hypot(norm(c.weight, o * c.in, c.in), c.bias?.[o] ?? 0),
  );
  return (index) =>
    dotTolerance(c.in, xNorms[Math.floor(index / c.out)]!, weightNorms[index % c.out]!);
}
