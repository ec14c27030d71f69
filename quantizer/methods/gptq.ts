// GPTQ (Frantar et al., arXiv:2210.17323). The loop over blocks of columns is here; loops over elements are kernels.
import { type F32, type I32, ops, type RangeSource } from "../../kernels/index.ts";
import { type DampedFactor, factorHessian } from "../hessian.ts";
import type { Recipe } from "../recipe.ts";
import { gridOf } from "./grid.ts";
import { consecutiveGroups } from "./groups.ts";
import type { Method, MethodResult, Solver } from "./method.ts";
import { roundToNearest } from "./rtn.ts";

/** Columns whose errors are spread one by one; later columns follow in one product per block. */
const blockColumns = 128;

export const gptq: Method = {
  name: "gptq",
  needsHessian: true,
  prepare: async (hessian, recipe) => {
    if (hessian === undefined) throw new RangeError("gptq needs a Hessian");
    const order = recipe.order === "in-order" ? undefined : hessian.descendingOrder();
    const orderTensor = order && hessian.matrix.device.from("i32", order);
    const damped = await factorHessian(hessian, recipe.damping, orderTensor);
    if (damped === undefined) {
      orderTensor?.[Symbol.dispose]();
      return roundingSolver(recipe);
    }
    return new GptqSolver(recipe, damped, { order, orderTensor, diagonal: hessian.diagonal });
  },
};

function roundingSolver(recipe: Recipe): Solver {
  const reason = "the Hessian is not positive definite at any damping up to 1: rounded to nearest";
  return {
    quantize: (weight, scheme) =>
      roundToNearest(weight, { ...recipe, ...scheme, order: "in-order" }, reason),
    [Symbol.dispose]() {},
  };
}

/** What a solver knows of a stage besides the factor. */
type StageFacts = {
  /** Order of processing; undefined for the stored one. */
  readonly order: Int32Array<ArrayBuffer> | undefined;
  readonly orderTensor: I32 | undefined;
  /** [in], of the Hessian in stored order; outlives the solver. */
  readonly diagonal: F32;
};

class GptqSolver implements Solver {
  readonly #recipe: Recipe;
  readonly #damped: DampedFactor;
  readonly #order: Int32Array<ArrayBuffer> | undefined;
  readonly #orderTensor: I32 | undefined;
  readonly #diagonal: F32;

  constructor(recipe: Recipe, damped: DampedFactor, stage: StageFacts) {
    this.#recipe = recipe;
    this.#damped = damped;
    this.#order = stage.order;
    this.#orderTensor = stage.orderTensor;
    this.#diagonal = stage.diagonal;
  }

  quantize(weight: F32, scheme: Parameters<Solver["quantize"]>[1] = {}): MethodResult {
    const recipe = { ...this.#recipe, ...scheme };
    const inFeatures = weight.size(1);
    const groups = consecutiveGroups(inFeatures, recipe.groupSize);
    // With static groups, and with one group a row, the grid comes from the stored weights in their stored order.
    const given = recipe.groupSize === -1 || recipe.order === "act-order-static";
    const grid = given ? this.#givenGrid(weight, recipe) : emptyGrid(weight, recipe.groupSize);
    using w = this.#orderTensor ? permuted(weight, this.#orderTensor) : weight;
    const order = this.#order;
    const ownGroups = order && given ? order.map((column) => groups[column] ?? 0) : groups;
    using columnGroup = w.device.from("i32", ownGroups);
    const codes = w.device.empty("u8", w.shape);
    const spread = this.#solve({ w, columnGroup, ...grid, codes }, recipe, given);
    const result = {
      ...grid,
      spread,
      method: "gptq",
      damping: this.#damped.damping,
      fallback:
        this.#damped.damping === recipe.damping
          ? undefined
          : `damping ${recipe.damping} was too little to factor the Hessian`,
    };
    if (order === undefined) return { ...result, codes, groupIndex: groups };
    const inverse = new Int32Array(inFeatures);
    for (const [i, column] of order.entries()) inverse[column] = i;
    using inverseTensor = w.device.from("i32", inverse);
    using permutedCodes = codes;
    return {
      ...result,
      codes: ops.gatherColumns(permutedCodes, inverseTensor),
      groupIndex: given ? groups : inverse.map((position) => groups[position] ?? 0),
    };
  }

  #givenGrid(weight: F32, recipe: Recipe): { scales: F32; zeros: I32 } {
    const { groupSize } = recipe;
    return ops.findGrid(
      weight,
      gridOf(recipe),
      groupSize === -1 ? weight.size(1) : groupSize,
      this.#diagonal,
    );
  }

  #solve(weight: Parameters<typeof ops.gptqBlock>[0], recipe: Recipe, given: boolean): F32 {
    const dynamic: RangeSource = recipe.compat === "autogptq" ? "stale" : "updated";
    using importance = this.#orderTensor && permutedVector(this.#diagonal, this.#orderTensor);
    const options = {
      grid: gridOf(recipe),
      range: given ? ("given" as const) : dynamic,
      importance: importance ?? this.#diagonal,
    };
    const { factor } = this.#damped;
    const columns = weight.w.size(1);
    const spread = weight.w.device.zeros("f32", [weight.w.size(0)]);
    for (let begin = 0; begin < columns; begin += blockColumns) {
      const end = Math.min(begin + blockColumns, columns);
      using error = ops.gptqBlock(weight, factor, { begin, end }, options);
      ops.accumulateSquares(error, undefined, spread);
      if (end < columns) ops.trailingUpdate(weight.w, error, factor, begin);
    }
    return spread;
  }

  [Symbol.dispose](): void {
    this.#damped.factor[Symbol.dispose]();
    this.#orderTensor?.[Symbol.dispose]();
  }
}

function emptyGrid(weight: F32, groupSize: number): { scales: F32; zeros: I32 } {
  const shape = [weight.size(0), Math.ceil(weight.size(1) / groupSize)];
  return { scales: weight.device.empty("f32", shape), zeros: weight.device.empty("i32", shape) };
}

function permutedVector(vector: F32, order: I32): F32 {
  using row = vector.reshape([1, vector.size(0)]);
  using gathered = ops.gatherColumns(row, order);
  return gathered.reshape([vector.size(0)]);
}

function permuted(weight: F32, order: I32): F32 {
  using source = weight;
  return ops.gatherColumns(source, order);
}
