// Counters in the format that Prometheus reads.
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { EngineStats } from "../generation/index.ts";
import type { ServedEngine } from "./service.ts";

type Reading = readonly [name: string, help: string, value: (stats: EngineStats) => number];

const gauges: readonly Reading[] = [
  ["nibble_requests_running", "Requests computed together now.", ({ running }) => running],
  ["nibble_requests_waiting", "Requests that wait for room.", ({ waiting }) => waiting],
  ["nibble_kv_cache_blocks", "Blocks of the key/value cache.", (stats) => stats.cacheBlocks.total],
  ["nibble_kv_cache_blocks_used", "Of these, blocks in use.", (stats) => stats.cacheBlocks.used],
  [
    "nibble_kv_cache_blocks_idle",
    "Of these, blocks that are kept for requests that begin alike.",
    (stats) => stats.cacheBlocks.idle,
  ],
];

const counters: readonly Reading[] = [
  ["nibble_prompt_tokens_total", "Prompt tokens computed.", (stats) => stats.promptTokens],
  [
    "nibble_prompt_tokens_reused_total",
    "Prompt tokens that were computed before.",
    (stats) => stats.reusedTokens,
  ],
  ["nibble_generated_tokens_total", "Tokens generated.", (stats) => stats.generatedTokens],
  ["nibble_steps_total", "Passes through the model.", (stats) => stats.steps],
];

/** Bounds of times, in seconds. */
const buckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120];

export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<"endpoint" | "status">;
  readonly #durations: Histogram<"endpoint">;
  readonly #firstToken: Histogram;
  readonly #perToken: Histogram;

  constructor(engine: ServedEngine) {
    const registers = [this.#registry];
    for (const [name, help, value] of gauges) {
      const collect = () => gauge.set(value(engine.stats));
      const gauge: Gauge = new Gauge({ name, help, registers, collect });
    }
    for (const [name, help, value] of counters) {
      const collect = () => {
        counter.reset();
        counter.inc(value(engine.stats));
      };
      const counter: Counter = new Counter({ name, help, registers, collect });
    }
    this.#requests = new Counter({
      ...{ name: "nibble_http_requests_total", help: "Requests answered.", registers },
      labelNames: ["endpoint", "status"],
    });
    const histogram = (name: string, help: string, scale = 1) => ({
      ...{ name, help, registers },
      buckets: buckets.map((bound) => bound * scale),
    });
    this.#durations = new Histogram({
      ...histogram("nibble_http_response_seconds", "Time until an answer's headers."),
      labelNames: ["endpoint"],
    });
    this.#firstToken = new Histogram(
      histogram("nibble_first_token_seconds", "From a request to its first token."),
    );
    this.#perToken = new Histogram(
      histogram("nibble_token_seconds", "From a token to the next, the mean of each answer.", 0.1),
    );
  }

  countRequest(endpoint: string, status: number, duration: number): void {
    this.#requests.inc({ endpoint, status: String(status) });
    this.#durations.observe({ endpoint }, duration);
  }

  /** Times of one answer, in seconds. */
  countAnswer(firstToken: number, total: number, tokens: number): void {
    this.#firstToken.observe(firstToken);
    if (tokens > 1) this.#perToken.observe((total - firstToken) / (tokens - 1));
  }

  async toResponse(): Promise<Response> {
    return new Response(await this.#registry.metrics(), {
      headers: { "content-type": this.#registry.contentType },
    });
  }
}
