// GPTQ (Frantar et al., arXiv:2210.17323). The loop over blocks of columns is here; loops over elements are kernels.
import {
  type F32,
  type I32,
  ops,
  type RangeSource,
  type RoundedWeight,
  type Tensor,
  type U8,
} from "../../kernels/index.ts";
import { type DampedFactor, factorHessian } from "../hessian.ts";
import type { Recipe } from "../recipe.ts";
import { gridOf } from "./grid.ts";
import { consecutiveGroups } from "./groups.ts";
import type { Method, MethodResult, Solver } from "./method.ts";
import { refine } from "./refine.ts";
import { type ColumnOrder, type Crosses, retarget } from "./retarget.ts";
import { roundToNearest } from "./rtn.ts";

/** Columns whose errors are spread one by one; later columns follow in one product per block. */
const blockColumns = 128;

export const gptq: Method = {
  name: "gptq",
  needsHessian: true,
  prepare: async (hessian, recipe) => {
    if (hessian === undefined) throw new RangeError("gptq needs a Hessian");
    const { device } = hessian.matrix;
    const order = recipe.order === "in-order" ? undefined : hessian.descendingOrder();
    const orderTensor = order && device.from("i32", order);
    const factored = await factorHessian(hessian, recipe.damping, orderTensor);
    if (factored === undefined) {
      orderTensor?.[Symbol.dispose]();
      return roundingSolver(recipe);
    }
    const columnOrder = order &&
      orderTensor && { order: orderTensor, inverse: device.from("i32", inverseOf(order)) };
    // Where groups are those of the permuted columns, so is everything that is refined.
    const groupOrder = recipe.order === "act-order" ? orderTensor : undefined;
    const damped =
      recipe.refine === "none" ? undefined : hessian.damped(factored.damping, groupOrder);
    return new GptqSolver(recipe, factored, {
      ...{ order, columnOrder, damped },
      diagonal: hessian.diagonal,
      crosses: hessian.cross && { cross: hessian.cross, residualCross: hessian.residualCross },
    });
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
  readonly columnOrder: ColumnOrder | undefined;
  /** [in, in], the damped Hessian in the order of groups, if weights are refined. */
  readonly damped: F32 | undefined;
  /** [in], of the Hessian in stored order; outlives the solver. */
  readonly diagonal: F32;
  /** See Hessian; outlives the solver. */
  readonly crosses: Crosses | undefined;
};

class GptqSolver implements Solver {
  readonly #recipe: Recipe;
  readonly #factored: DampedFactor;
  readonly #stage: StageFacts;

  constructor(recipe: Recipe, factored: DampedFactor, stage: StageFacts) {
    this.#recipe = recipe;
    this.#factored = factored;
    this.#stage = stage;
  }

  quantize(weight: F32, scheme: Parameters<Solver["quantize"]>[1] = {}): MethodResult {
    const recipe = { ...this.#recipe, ...scheme };
    const { order, columnOrder } = this.#stage;
    const inFeatures = weight.size(1);
    const groups = consecutiveGroups(inFeatures, recipe.groupSize);
    // With static groups, and with one group a row, the grid comes from the stored weights in their stored order.
    const given = recipe.groupSize === -1 || recipe.order === "act-order-static";
    const target = this.#target(weight);
    const grid = given ? this.#givenGrid(target, recipe) : emptyGrid(target, recipe.groupSize);
    const w = columnOrder ? ops.gatherColumns(target, columnOrder.order) : ops.copy(target);
    const ownGroups = order && given ? order.map((column) => groups[column] ?? 0) : groups;
    using columnGroup = w.device.from("i32", ownGroups);
    const codes = w.device.empty("u8", w.shape);
    const spread = this.#solve({ w, columnGroup, ...grid, codes }, recipe, given);
    const stored = this.#refined({ w, codes, ...grid }, target, recipe, groups);
    const { damping } = this.#factored;
    return {
      ...grid,
      codes: stored,
      groupIndex:
        order === undefined || given
          ? groups
          : inverseOf(order).map((position) => groups[position] ?? 0),
      method: "gptq",
      damping,
      spread,
      target: this.#ownTarget(target),
      fallback:
        damping === recipe.damping
          ? undefined
          : `damping ${recipe.damping} was too little to factor the Hessian`,
    };
  }

  /** A target for the result, if it is not the weight itself. */
  #ownTarget(target: F32): F32 | undefined {
    if (this.#stage.crosses !== undefined) return target;
    target[Symbol.dispose]();
    return undefined;
  }

  /** What is to be approximated; consumes the weight. */
  #target(weight: F32): F32 {
    const { crosses, columnOrder } = this.#stage;
    if (crosses === undefined) return weight;
    using given = weight;
    return retarget(given, crosses, this.#factored.factor, columnOrder);
  }

  /** Codes in stored order, refined if the recipe asks for it; consumes `w` and `codes`. */
  #refined(
    rounded: Omit<RoundedWeight, "columnGroup">,
    target: F32,
    recipe: Recipe,
    groups: Int32Array<ArrayBuffer>,
  ): U8 {
    const { columnOrder, damped } = this.#stage;
    const isStored = columnOrder === undefined;
    const restore = <T extends "f32" | "u8">(tensor: Tensor<T>): Tensor<T> => {
      if (isStored) return tensor;
      using source = tensor;
      return ops.gatherColumns(source, columnOrder.inverse);
    };
    if (damped === undefined) {
      rounded.w[Symbol.dispose]();
      return restore(rounded.codes);
    }
    using columnGroup = target.device.from("i32", groups);
    if (isStored || recipe.order !== "act-order") {
      using w = restore(rounded.w);
      const codes = restore(rounded.codes);
      refine({ ...rounded, w, codes, columnGroup }, target, damped, recipe);
      return codes;
    }
    using w = rounded.w;
    using permutedTarget = ops.gatherColumns(target, columnOrder.order);
    refine({ ...rounded, w, columnGroup }, permutedTarget, damped, recipe);
    return restore(rounded.codes);
  }

  #givenGrid(weight: F32, recipe: Recipe): { scales: F32; zeros: I32 } {
    const { groupSize } = recipe;
    return ops.findGrid(
      weight,
      gridOf(recipe),
      groupSize === -1 ? weight.size(1) : groupSize,
      recipe.grid === "mse" ? undefined : this.#stage.diagonal,
    );
  }

  /** What was spread, unless refining comes after, which leaves other errors. */
  #solve(
    weight: Parameters<typeof ops.gptqBlock>[0],
    recipe: Recipe,
    given: boolean,
  ): F32 | undefined {
    const dynamic: RangeSource = recipe.compat === "autogptq" ? "stale" : "updated";
    const { columnOrder, diagonal, damped } = this.#stage;
    using permuted = columnOrder && permutedVector(diagonal, columnOrder.order);
    const options = {
      grid: gridOf(recipe),
      range: given ? ("given" as const) : dynamic,
      importance: recipe.grid === "mse" ? undefined : (permuted ?? diagonal),
    };
    const { factor } = this.#factored;
    const columns = weight.w.size(1);
    const spread =
      damped === undefined ? weight.w.device.zeros("f32", [weight.w.size(0)]) : undefined;
    for (let begin = 0; begin < columns; begin += blockColumns) {
      const end = Math.min(begin + blockColumns, columns);
      using error = ops.gptqBlock(weight, factor, { begin, end }, options);
      if (spread !== undefined) ops.accumulateSquares(error, undefined, spread);
      if (end < columns) ops.trailingUpdate(weight.w, error, factor, begin);
    }
    return spread;
  }

  [Symbol.dispose](): void {
    const { columnOrder, damped } = this.#stage;
    this.#factored.factor[Symbol.dispose]();
    columnOrder?.order[Symbol.dispose]();
    columnOrder?.inverse[Symbol.dispose]();
    damped?.[Symbol.dispose]();
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

function inverseOf(order: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const inverse = new Int32Array(order.length);
  for (const [i, column] of order.entries()) inverse[column] = i;
  return inverse;
}
