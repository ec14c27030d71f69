// What serving adds to the engine: processor time per streamed token, and wall time beside the bare loop.
// usage: serve-cost MODEL [batch] [tokens] [rounds]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { openDevice } from "../../kernels/index.ts";
import { Machine } from "../../runtime/bench/index.ts";
import { stepBytes, trafficOf } from "../../runtime/bench/traffic.ts";
import {
  type Completion,
  type CompletionDelta,
  Engine,
  type EngineRequest,
  openModel,
  openQwenTokenizer,
  parseSamplingOptions,
  readGenerationConfig,
} from "../../runtime/index.ts";
import { createApp, listen } from "../../runtime/server/index.ts";

const [dir = "examples/qwen-mini", batch = "16", tokens = "64", rounds = "5"] =
  process.argv.slice(2);
const streams = Number(batch);
const length = Number(tokens);

const device = openDevice({ threads: 2 });
const model = openModel(dir, device, { kvCache: "f16", head: "screened" });
const tokenizer = openQwenTokenizer(dir);
const config = { ...readGenerationConfig(dir), chatFormat: "chatml" };
const details = { quantization: "", kvCache: "f16", device: "" };
const engine = new Engine(model, tokenizer, { cacheTokens: 16_384, sharesPrefixes: false });

/** Answers at once, so that only the server's own work is left. */
const instant = {
  ...{ maxLength: 1e6, failure: undefined, stats: engine.stats },
  submit(request: EngineRequest): Completion {
    return {
      ...{ promptTokens: request.prompt.length, reusedTokens: 0, cancel: () => {} },
      async *[Symbol.asyncIterator](): AsyncGenerator<CompletionDelta, void> {
        for (let made = 1; made <= request.maxNewTokens; made++) {
          const finish = made === request.maxNewTokens ? "length" : undefined;
          // A turn of the event loop for each, as steps of an engine have.
          if (made % 8 === 0) await new Promise((resolve) => setImmediate(resolve));
          yield { text: " word", id: 1, logprobs: undefined, tokens: made, finish };
        }
      },
    };
  },
};

const prompt = "Once upon a time";
const client = `
  import { request } from "node:http";
  const [url, streams, length] = process.argv.slice(1);
  const body = JSON.stringify({ model: "m", prompt: ${JSON.stringify(prompt)}, stream: true, temperature: 0,
    repetition_penalty: 1, max_tokens: Number(length) });
  const started = performance.now();
  await Promise.all(Array.from({ length: Number(streams) }, () => new Promise((resolve) => {
    request(url + "/v1/completions", { method: "POST" }, (response) => response.resume().on("end", resolve)).end(body);
  })));
  console.log((performance.now() - started) / 1000);`;

/** Seconds until a process of its own has read all streams. */
async function overHttp(url: string, count: number): Promise<number> {
  const args = ["--input-type=module", "-e", client, url, String(streams), String(count)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  child.stdout.on("data", (text) => {
    said += text;
  });
  await once(child, "close");
  return Number(said);
}

async function bare(): Promise<number> {
  const started = performance.now();
  const sampling = parseSamplingOptions({ temperature: 0 });
  await Promise.all(
    Array.from({ length: streams }, async () => {
      const request = { prompt: tokenizer.encode(prompt), maxNewTokens: length, sampling };
      for await (const _ of engine.submit(request));
    }),
  );
  return (performance.now() - started) / 1000;
}

const appOf = (served: typeof instant | Engine) =>
  createApp({ id: "m", engine: served as Engine, tokenizer, config, details });
const [instantServer, server] = await Promise.all(
  [instant, engine].map((each) => listen(appOf(each), { host: "127.0.0.1", port: 0 })),
);

await overHttp(instantServer!.url, 2000);
const perToken: number[] = [];
for (let i = 0; i < 3; i++) {
  const before = process.cpuUsage();
  await overHttp(instantServer!.url, 2000);
  const { user, system } = process.cpuUsage(before);
  perToken.push((user + system) / (streams * 2000));
}
console.log(
  `server: ${perToken.map((us) => us.toFixed(1)).join(", ")} µs of processor time per streamed token`,
);

await bare();
const machine = new Machine(device);
const traffic = trafficOf(model, "screened");
const stepSize = stepBytes(traffic, [length / 2]);
for (let round = 0; round < Number(rounds); round++) {
  const { bandwidth } = await machine.measure([]);
  const alone = await bare();
  const http = await overHttp(server!.url, length);
  const speed = (streams * length) / alone;
  const limit = bandwidth / stepSize;
  console.log(
    `round ${round + 1}: bare ${speed.toFixed(1)} tokens/s, ${(speed / limit).toFixed(2)} × batch 1's limit of ` +
      `${limit.toFixed(1)} at ${(bandwidth / 1e9).toFixed(1)} GB/s; over HTTP ${(100 * (http / alone - 1)).toFixed(1)} % longer`,
  );
}
await Promise.all([instantServer!.close(0), server!.close(0)]);
await engine[Symbol.asyncDispose]();
