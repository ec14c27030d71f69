// Many streaming clients against `nibble serve`, some of whom vanish: gaps between tokens, errors, what stays behind, memory.
// usage: serve-load MODEL [seconds] [clients]
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";

const [model = "examples/qwen-mini", seconds = "60", clients = "64"] = process.argv.slice(2);

/** Share of the requests whose client goes away before the end. */
const vanishing = 0.2;

type Outcome = "whole" | "vanished" | "failed";

const server = spawn(
  process.execPath,
  ["dist/cli/main.js", "serve", model, "--port", "0", "--json", "-q"],
  { stdio: ["ignore", "pipe", "inherit"] },
);
const [line] = (await once(createInterface({ input: server.stdout }), "line")) as [string];
const { url } = JSON.parse(line) as { url: string };
const name = (JSON.parse(line) as { model: string }).model;

const gaps: number[] = [];
const outcomes: Record<Outcome, number> = { whole: 0, vanished: 0, failed: 0 };
let tokens = 0;
const memory: { requests: number; megabytes: number }[] = [];

function residentMegabytes(): number {
  const status = readFileSync(`/proc/${server.pid}/status`, "utf8");
  return Number(/VmRSS:\s*(\d+)/.exec(status)?.[1]) / 1024;
}

/** Seconds of processor time that the server has used. */
function cpuSeconds(): number {
  const fields = readFileSync(`/proc/${server.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** One request; gaps are between chunks with text. */
function ask(): Promise<Outcome> {
  const vanishAt = Math.random() < vanishing ? Math.random() * 1500 : undefined;
  const body = JSON.stringify({
    ...{ model: name, stream: true, max_tokens: 8 + Math.floor(Math.random() * 120) },
    messages: [{ role: "user", content: "Tell me of ".repeat(1 + Math.floor(Math.random() * 20)) }],
  });
  return new Promise((resolve) => {
    const sent = request(`${url}/v1/chat/completions`, { method: "POST" }, (response) => {
      let last: number | undefined;
      let isDone = false;
      response.setEncoding("utf8").on("data", (text: string) => {
        const now = performance.now();
        const count = text.split('"content":"').length - 1;
        isDone ||= text.includes("[DONE]");
        if (count === 0 || text.includes('"role"')) return;
        tokens += count;
        if (last !== undefined) gaps.push(now - last);
        last = now;
      });
      response.on("end", () => resolve(response.statusCode === 200 && isDone ? "whole" : "failed"));
      response.on("error", () => resolve(vanishAt === undefined ? "failed" : "vanished"));
    });
    sent.on("error", () => resolve(vanishAt === undefined ? "failed" : "vanished"));
    sent.end(body);
    if (vanishAt !== undefined) setTimeout(() => sent.destroy(), vanishAt);
  });
}

const end = performance.now() + Number(seconds) * 1000;
const startCpu = cpuSeconds();
let requests = 0;
await Promise.all(
  Array.from({ length: Number(clients) }, async () => {
    while (performance.now() < end) {
      outcomes[await ask()] += 1;
      requests += 1;
      if (requests % 250 === 0) memory.push({ requests, megabytes: residentMegabytes() });
    }
  }),
);
await sleep(300);
const metrics = await (await fetch(`${url}/metrics`)).text();
const metric = (id: string) => Number(new RegExp(`^${id} (.*)$`, "m").exec(metrics)?.[1]);
gaps.sort((a, b) => a - b);
const at = (share: number) => gaps[Math.floor(share * (gaps.length - 1))]!;
const result = {
  ...{ seconds: Number(seconds), clients: Number(clients), outcomes, tokens },
  tokensPerSecond: tokens / Number(seconds),
  gapMs: {
    median: at(0.5),
    p90: at(0.9),
    p99: at(0.99),
    p999: at(0.999),
    p99OverMedian: at(0.99) / at(0.5),
  },
  left: {
    running: metric("nibble_requests_running"),
    waiting: metric("nibble_requests_waiting"),
    blocks: metric("nibble_kv_cache_blocks_used"),
  },
  serverCpuMicrosecondsPerToken:
    ((cpuSeconds() - startCpu) / metric("nibble_generated_tokens_total")) * 1e6,
  memory,
};
console.log(JSON.stringify(result, undefined, 2));
server.kill("SIGTERM");
await once(server, "exit");
