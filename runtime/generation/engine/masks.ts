// Which ids may come next of requests that are constrained, asked for together.
import type { Request } from "./request.ts";

/** One that could not be made fails its own request only. */
export type Mask = PromiseSettledResult<Int32Array>;

/** Of the requests that have a constraint. */
export async function masksOf(requests: readonly Request[]): Promise<ReadonlyMap<Request, Mask>> {
  const constrained = requests.filter(({ constraint, isOver }) => constraint && !isOver);
  if (constrained.length === 0) return new Map();
  const masks = await Promise.allSettled(constrained.map(({ constraint }) => constraint?.mask()));
  return new Map(constrained.map((request, i) => [request, masks[i] as Mask]));
}
