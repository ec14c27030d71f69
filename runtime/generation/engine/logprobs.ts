/** Natural logarithms of a token's probability and of the most likely ones', before penalties and temperature. */
export type TokenLogprobs = {
  readonly logprob: number;
  /** Most likely first. */
  readonly top: readonly { readonly id: number; readonly logprob: number }[];
};

/** @param count  how many of the most likely to tell */
export function tokenLogprobs(logits: Float32Array, id: number, count: number): TokenLogprobs {
  const top = largest(logits, count);
  let most = Number.NEGATIVE_INFINITY;
  for (const value of logits) if (value > most) most = value;
  let sum = 0;
  for (const value of logits) sum += Math.exp(value - most);
  const logSum = most + Math.log(sum);
  const logprobOf = (token: number) => (logits[token] ?? Number.NEGATIVE_INFINITY) - logSum;
  return {
    logprob: logprobOf(id),
    top: top.map((token) => ({ id: token, logprob: logprobOf(token) })),
  };
}

/** Ids of the largest values, the first of equals first; `count` is small, so they are kept in order. */
export function largest(values: Float32Array, count: number): readonly number[] {
  const ids: number[] = [];
  for (let id = 0; count > 0 && id < values.length; id++) {
    const value = values[id] ?? Number.NEGATIVE_INFINITY;
    if (ids.length === count && !(value > (values[ids.at(-1) ?? 0] ?? 0))) continue;
    let at = ids.length;
    while (at > 0 && value > (values[ids[at - 1] ?? 0] ?? 0)) at -= 1;
    ids.splice(at, 0, id);
    if (ids.length > count) ids.pop();
  }
  return ids;
}
