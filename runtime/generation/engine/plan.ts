import type { Request } from "./request.ts";

export type PlanLimits = {
  /** Rows of prompts in a step of its own. */
  readonly chunkRows: number;
  /** The same where other requests wait for their next token meanwhile. */
  readonly sharedChunkRows: number;
};

/** A request and how many of its pending tokens a step computes. */
export type Share = { readonly request: Request; readonly count: number };

/**
 * What the next step computes: the next token of every request that generates, and as much of prompts, the oldest first, as does
 * not keep those waiting long.
 */
export function planStep(requests: readonly Request[], limits: PlanLimits): readonly Share[] {
  const generating = requests.filter((request) => request.generated > 0);
  let rows = generating.length === 0 ? limits.chunkRows : limits.sharedChunkRows;
  const shares: Share[] = generating.map((request) => ({ request, count: 1 }));
  for (const request of requests) {
    if (rows === 0) break;
    if (request.generated > 0) continue;
    const count = Math.min(rows, request.pending);
    shares.push({ request, count });
    rows -= count;
  }
  return shares;
}
