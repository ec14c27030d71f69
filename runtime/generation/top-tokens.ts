// Drawing among the most likely tokens (top-k, top-p) without sorting the vocabulary.

/** Reused between calls: a vocabulary has 150,000 entries and a call happens per token. */
export type Scratch = {
  /** [allowed] logits after the repetition penalty */
  readonly scores: Float32Array;
  /** [allowed] exp((score − best) / temperature), not normalised */
  readonly weights: Float64Array;
  /** [allowed] candidate ids, a binary heap in its first entries */
  readonly heap: Int32Array;
};

export function createScratch(size: number): Scratch {
  return {
    scores: new Float32Array(size),
    weights: new Float64Array(size),
    heap: new Int32Array(size),
  };
}

export type TopLimits = {
  readonly limit: number;
  readonly topP: number;
  /** Applied last, as in transformers; 0 is off. */
  readonly minP: number;
  readonly total: number;
};

/**
 * Takes the most likely tokens one by one until top-k or top-p is reached, then draws among them. Only
 * tokens that can be among them enter the heap, so that nothing sorts the whole vocabulary.
 */
export function drawFromTop(scratch: Scratch, limits: TopLimits, uniform: number): number {
  const { limit, topP, total } = limits;
  const { weights, heap, scores } = scratch;
  const size = collectCandidates(scratch, limits);
  buildHeap(heap, size, scores);

  // Popped ids stand in descending order at the end of the heap array, as in heapsort.
  const usesTopK = limit < scores.length;
  const target = usesTopK ? Number.POSITIVE_INFINITY : topP * total;
  let kept = 0;
  let mass = 0;
  while (kept < limit && kept < size && (kept === 0 || mass < target)) {
    mass += weights[popTop(heap, size - kept, scores)] ?? 0;
    kept += 1;
  }
  if (usesTopK) {
    [kept, mass] = trimToMass(scratch, { size, kept, target: topP * mass });
  }
  [kept, mass] = dropUnlikely(scratch, { size, kept, mass, minP: limits.minP });

  let sum = 0;
  for (let i = 1; i < kept; i += 1) {
    const id = heap[size - i] ?? 0;
    sum += weights[id] ?? 0;
    if (sum > uniform * mass) {
      return id;
    }
  }
  return heap[size - kept] ?? 0;
}

/** Top-p among the top-k: the shortest prefix of the popped ids whose mass reaches the target. */
function trimToMass(
  { heap, weights }: Scratch,
  top: { readonly size: number; readonly kept: number; readonly target: number },
): [kept: number, mass: number] {
  let mass = 0;
  let kept = 0;
  while (kept < top.kept && (kept === 0 || mass < top.target)) {
    kept += 1;
    mass += weights[heap[top.size - kept] ?? 0] ?? 0;
  }
  return [kept, mass];
}

/** Min-p: the popped ids whose weight is large enough, the first always; the most likely token's weight is 1. */
function dropUnlikely(
  { heap, weights }: Scratch,
  top: {
    readonly size: number;
    readonly kept: number;
    readonly mass: number;
    readonly minP: number;
  },
): [kept: number, mass: number] {
  let { kept, mass } = top;
  for (; kept > 1; kept -= 1) {
    const last = weights[heap[top.size - kept] ?? 0] ?? 0;
    if (last >= top.minP) break;
    mass -= last;
  }
  return [kept, mass];
}

/** Fills the heap array with every token above a weight that is lowered until enough are certain. */
function collectCandidates({ weights, heap }: Scratch, limits: TopLimits): number {
  const { limit, topP, total } = limits;
  const enoughMass = topP * total;
  const usesTopK = limit < weights.length;
  for (let threshold = 2 ** -6; threshold > 0; threshold *= threshold) {
    let size = 0;
    let mass = 0;
    for (let id = 0; id < weights.length; id += 1) {
      const weight = weights[id] ?? 0;
      if (weight >= threshold) {
        heap[size] = id;
        size += 1;
        mass += weight;
      }
    }
    if (usesTopK ? size >= limit : mass >= enoughMass) {
      return size;
    }
  }
  for (let id = 0; id < weights.length; id += 1) {
    heap[id] = id;
  }
  return weights.length;
}

/** Orders by score, not by weight: weights of different scores may both underflow to 0. */
function isBefore(scores: Float32Array, a: number, b: number): boolean {
  const left = scores[a] ?? 0;
  const right = scores[b] ?? 0;
  return left > right || (left === right && a < b);
}

function buildHeap(heap: Int32Array, size: number, scores: Float32Array): void {
  for (let at = (size >> 1) - 1; at >= 0; at -= 1) {
    siftDown(heap, at, { size, scores });
  }
}

/** Moves the best of heap[0 … size − 1] to heap[size − 1] and restores the rest. */
function popTop(heap: Int32Array, size: number, scores: Float32Array): number {
  const top = heap[0] ?? 0;
  heap[0] = heap[size - 1] ?? 0;
  heap[size - 1] = top;
  siftDown(heap, 0, { size: size - 1, scores });
  return top;
}

function siftDown(
  heap: Int32Array,
  from: number,
  bounds: { readonly size: number; readonly scores: Float32Array },
): void {
  const { size, scores } = bounds;
  const moved = heap[from] ?? 0;
  let at = from;
  for (let child = 2 * at + 1; child < size; child = 2 * at + 1) {
    const right = child + 1;
    if (right < size && isBefore(scores, heap[right] ?? 0, heap[child] ?? 0)) {
      child = right;
    }
    const id = heap[child] ?? 0;
    if (!isBefore(scores, id, moved)) {
      break;
    }
    heap[at] = id;
    at = child;
  }
  heap[at] = moved;
}
