import type { Command } from "commander";
import { Option } from "commander";
import {
  Engine,
  loadServer,
  type Model,
  openModel,
  readGenerationConfig,
  type ServedModel,
  type Tokenizer,
} from "../../runtime/index.ts";
import { bytes, type CommonFlags, decimal, integer, ranges, repeated } from "../arguments.ts";
import { type ArithmeticFlags, addArithmeticFlags, arithmeticOf } from "../arithmetic-flags.ts";
import type { CommandContext, CommandSpec } from "../command.ts";
import { openComputeDevice } from "../compute-device.ts";
import { UsageError } from "../errors.ts";
import { modelDirectory } from "../model-directory.ts";
import { describeUnused, openTokenizer } from "../model-files.ts";
import type { Output } from "../terminal/output.ts";
import { keepPackedWeights, weightCacheOf } from "../weight-cache.ts";
import { cacheTokensOf, describeCache } from "./cache-memory.ts";
import { detailsOf, nameOf } from "./model-details.ts";
import { credentialsOf, type ServerFlags, warnings } from "./server-flags.ts";
import { serveWithVllm } from "./vllm.ts";

type ServeFlags = CommonFlags &
  ArithmeticFlags &
  ServerFlags & {
    readonly engine: "nibble" | "vllm";
    readonly tensorParallel?: number;
    readonly ray?: boolean;
    readonly name?: string;
    readonly kvMemory?: number;
    readonly maxRunning: number;
    readonly maxWaiting: number;
    readonly maxBody: number;
    readonly timeout: number;
    readonly grace: number;
    readonly cache: boolean;
  };

export const serve: CommandSpec = { name: "serve", define: defineServe, run: runServe };

const examples = `
Serves OpenAI's API under /v1 and a chat page at /. Requests run together, as
many as the key/value cache has room for; those that begin alike share what they
have in common. Sampling and length default to the model's
generation_config.json. SIGTERM or Ctrl-C: no new requests, those that are there
get --grace seconds, then the program ends; a second one ends it at once.

Examples:
  nibble serve my-Int4
  nibble serve my-Int4 --port 9000 --kv int8 --kv-memory 4GB
  NIBBLE_API_KEY=secret nibble serve my-Int4 --host 0.0.0.0
  nibble serve my-Int4 --engine vllm --tensor-parallel 2

--engine vllm hands the directory to vLLM with --host, --port, --name and
--api-key, after a check that this version and recipe go together; the model's
own Python files have to lie beside the weights.
`;

function defineServe(command: Command): void {
  command
    .description("Serve a model over HTTP: OpenAI's API and a chat page.")
    .argument("<model>", "model directory or model id, float or quantized", modelDirectory)
    .option("--host <address>", "where to listen; 0.0.0.0 for other machines", "127.0.0.1")
    .option("--port <n>", "where to listen, 0 for any port", integer(0, 65_535), 8000)
    .option("--name <name>", "what requests call the model (default: its directory's name)")
    .addOption(
      new Option("--api-key <key>", "what clients must send as Authorization: Bearer").env(
        "NIBBLE_API_KEY",
      ),
    )
    .addOption(
      new Option("--basic-auth <user:password>", "what browsers must ask for").env(
        "NIBBLE_BASIC_AUTH",
      ),
    )
    .option("--cors <origin>", "pages of this origin may use the API, * for all", repeated)
    .option("--kv-memory <size>", "memory for keys and values, such as 4GB", bytes)
    .option("--max-running <n>", "requests computed together", integer(1, 1024), 64)
    .option("--max-waiting <n>", "requests that may wait for them", integer(0), 256)
    .option("--max-body <size>", "largest body of a request", bytes, 4 * 2 ** 20)
    .option("--timeout <seconds>", "longest time for a request", decimal(ranges.aboveZero), 600)
    .option("--grace <seconds>", "time for requests at the end", decimal(ranges.fromZero), 30);
  addArithmeticFlags(command);
  command
    .addOption(
      new Option("--engine <name>", "ours, or an installed vLLM: then only the flags beside apply")
        .choices(["nibble", "vllm"])
        .default("nibble"),
    )
    .option("--tensor-parallel <n>", "GPUs that share the model, with --engine vllm", integer(1))
    .option("--ray", "over several machines, with --engine vllm")
    .option("--no-cache", "neither use nor keep repacked weights in ~/.cache/nibble")
    .addHelpText("after", examples);
}

async function runServe(command: Command, context: CommandContext): Promise<void> {
  const [dir = ""] = command.processedArgs as string[];
  const flags = command.opts<ServeFlags>();
  const { output } = context;
  const credentials = credentialsOf(flags);
  if (flags.engine === "vllm") return serveWithVllm(dir, flags, context);
  if (flags.tensorParallel !== undefined || flags.ray === true) {
    throw new UsageError("--tensor-parallel and --ray need --engine vllm");
  }
  const config = readGenerationConfig(dir);
  using device = openComputeDevice(flags);
  const packedCache = weightCacheOf(flags);
  using model = openModel(dir, device, { ...arithmeticOf(flags), packedCache });
  const unused = describeUnused(model);
  if (unused !== undefined) output.note(unused);
  using tokenizer = openTokenizer(model);
  await using engine = openEngine(model, tokenizer, flags);
  const served: ServedModel = {
    ...{ id: flags.name ?? nameOf(dir), engine, tokenizer, config },
    details: detailsOf(model),
  };
  const { createApp, listen } = await loadServer();
  const app = createApp(served, {
    credentials,
    origins: flags.cors,
    maxBodyBytes: flags.maxBody,
    timeLimit: flags.timeout * 1000,
    onError: (error) => output.error(describe(error)),
  });
  const listener = await listen(app, flags);
  for (const warning of warnings(flags)) output.note(warning);
  announce(output, listener.url, served);
  await untilAborted(context.signal);
  output.note(`stopping: ${engine.stats.running} requests have ${flags.grace} seconds to end`);
  const wasAnswered = await listener.close(flags.grace * 1000);
  if (!wasAnswered) output.note("requests that were not done were cut off");
  await keepPackedWeights(model, output, AbortSignal.timeout(flags.grace * 1000 + 1));
}

function openEngine(model: Model, tokenizer: Tokenizer, flags: ServeFlags): Engine {
  const { maxRunning, maxWaiting } = flags;
  const cacheTokens = cacheTokensOf(model, flags);
  return new Engine(model, tokenizer, { cacheTokens, maxRunning, maxWaiting });
}

function announce(output: Output, url: string, { id, engine, details, config }: ServedModel): void {
  if (output.isJson) output.line({ url, model: id, maxLength: engine.maxLength, ...details });
  output.note(
    `${id}: ${details.quantization}, ${details.device}, ${describeCache(engine, details)}`,
  );
  const page = config.chatFormat === "chatml" ? `; chat page: ${url}/` : "";
  output.note(`OpenAI's API: ${url}/v1${page}; Ctrl-C stops`);
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function describe(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
