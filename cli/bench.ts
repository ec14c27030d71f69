import type { Command } from "commander";
import {
  type BenchOptions,
  type BenchResult,
  fullBufferBytes,
  openModel,
  type Profile,
  profile,
  runRounds,
  type Spread,
} from "../runtime/index.ts";
import { type CommonFlags, integer } from "./arguments.ts";
import { type ArithmeticFlags, addArithmeticFlags, arithmeticOf } from "./arithmetic-flags.ts";
import type { CommandContext, CommandSpec } from "./command.ts";
import { describeDevice, openComputeDevice } from "./compute-device.ts";
import { UsageError } from "./errors.ts";
import { showKvTables } from "./kv-tables.ts";
import { peakMemoryBytes } from "./memory.ts";
import { modelDirectory } from "./model-directory.ts";
import { formatBytes } from "./terminal/format.ts";
import type { Output } from "./terminal/output.ts";
import { type Column, formatTable } from "./terminal/table.ts";

type BenchFlags = CommonFlags &
  ArithmeticFlags &
  Pick<BenchOptions, "rounds" | "context" | "tokens" | "batch" | "prefill"> & {
    readonly quick?: boolean;
    readonly profile?: boolean;
    readonly kvTables?: boolean;
    readonly generate: number;
    readonly encode: number;
  };

export const bench: CommandSpec = { name: "bench", define: defineBench, run: runBench };

const examples = `
Each round measures what the machine delivers at that moment (bytes read per
second, multiply-adds per second in registers) before and after decoding,
decoding a batch and reading a prompt. Rounds in which the bandwidth changed by
more than a tenth do not count. Tokens are arbitrary: no tokenizer is needed.

Bytes per token: every weight once as stored (codes, scales, biases), the
output head once (of 8 bits unless --head exact), keys and values of the
context. Percent of the limit is bytes per token times tokens per second over
the bandwidth.

--profile makes the table of Qwen's model cards: seconds, speed and memory of
generating after a context of one token, and of encoding.

--kv-tables has the memory of weights, keys and values and a step with a cache
of 16 and of 8 bits, by batch and by length: of a step that is run where its
cache fits into memory, else computed from a smaller one and marked.

Examples:
  nibble bench Qwen-1_8B-Chat-Int4
  nibble bench Qwen-1_8B-Chat-Int4 --rounds 9 --json
  nibble bench Qwen-1_8B-Chat-Int4 --profile --generate 2048 --encode 2048
`;

function defineBench(command: Command): void {
  command
    .description("Speed of a model beside what the machine can do at that moment.")
    .argument("<model>", "model directory or model id", modelDirectory)
    .option("--rounds <n>", "rounds to take medians of", integer(1, 1000), 5)
    .option("--context <tokens>", "positions before those decoded", integer(1), 128)
    .option("--tokens <n>", "tokens to decode in a round", integer(1), 32)
    .option("--batch <n>", "sequences decoded together", integer(1, 256), 8)
    .option("--prefill <tokens>", "length of the prompt", integer(2), 512);
  addArithmeticFlags(command);
  command
    .option("--quick", "measure the bandwidth on 256 MB instead of 1 GB")
    .option("--profile", "the table of Qwen's model cards instead")
    .option("--generate <tokens>", "with --profile: tokens to generate", integer(3), 2048)
    .option("--encode <tokens>", "with --profile: tokens to encode", integer(2), 2048)
    .option("--kv-tables", "Qwen's two tables of what a cache of 8 bits saves instead")
    .addHelpText("after", examples);
}

async function runBench(command: Command, context: CommandContext): Promise<void> {
  const [dir = ""] = command.processedArgs as string[];
  const flags = command.opts<BenchFlags>();
  const { output, signal } = context;
  using device = openComputeDevice(flags);
  using model = openModel(dir, device, arithmeticOf(flags));
  if (flags.kvTables) return await showKvTables(model, context);
  const { maxLength } = model.shape;
  const longest = flags.profile
    ? Math.max(flags.generate + 1, flags.encode)
    : Math.max(flags.context + flags.rounds * flags.tokens + 2, flags.prefill);
  if (longest > maxLength) {
    throw new UsageError(
      `${dir} is meant for ${maxLength} tokens, but ${longest} would be needed; ask for fewer`,
    );
  }
  const machine = { device: describeDevice(device), threads: device.threads, isa: device.isa };
  if (flags.profile) {
    using progress = output.progress(flags.generate);
    const result = await profile(model, flags, (fraction) => {
      signal.throwIfAborted();
      progress.update("generating", fraction);
    });
    const report = { model: dir, ...machine, ...result, peakBytes: peakMemoryBytes() };
    output.result(report, () => renderProfile(result, report.peakBytes, output));
    return;
  }
  using progress = output.progress(flags.rounds);
  const result = await runRounds(model, device, {
    ...flags,
    bufferBytes: flags.quick ? fullBufferBytes / 4 : fullBufferBytes,
    signal,
    onRound: (round) => progress.update("rounds", round / flags.rounds),
  });
  const report = {
    model: dir,
    ...machine,
    ...arithmeticOf(flags),
    ...result,
  };
  output.result({ ...report, peakBytes: peakMemoryBytes() }, () =>
    renderRounds(result, { flags, machine, output }),
  );
}

const columns: readonly Column[] = [
  { header: "measure", align: "left" },
  { header: "median", align: "right" },
  { header: "least", align: "right" },
  { header: "most", align: "right" },
  { header: "", align: "left" },
];

function renderRounds(
  result: BenchResult,
  view: {
    readonly flags: BenchFlags;
    readonly machine: { readonly device: string };
    readonly output: Output;
  },
): string {
  const { flags, machine, output } = view;
  const row = (name: string, spread: Spread | undefined, scale: number, unit: string) =>
    spread === undefined
      ? []
      : [
          [
            name,
            ...[spread.median, spread.least, spread.most].map((v) => (v * scale).toFixed(1)),
            unit,
          ],
        ];
  const rows = [
    ...row("read bandwidth", result.bandwidth, 1e-9, "GB/s"),
    ...row("decode", result.decode, 1, "tokens/s"),
    ...row("", result.decodeShare, 100, "% of the bandwidth"),
    ...row(`decode, ${flags.batch} together`, result.batch, 1, "tokens/s"),
    ...row("", result.batchFactor, 1, "x the limit of one"),
    ...row(`prompt of ${flags.prefill}`, result.prefill, 1, "tokens/s"),
    ...row("", result.prefillShare, 100, "% of peak"),
  ];
  const note =
    `${machine.device}; context ${flags.context}, ${flags.head} head, ${flags.activations} activations, ${flags.kv} keys and values, ` +
    `${formatBytes(result.bytesPerToken)} per token; ${result.steadyRounds} of ${result.rounds.length} rounds were steady` +
    `${result.steadyRounds === 0 ? ": all were counted" : ""}`;
  return `${formatTable(columns, rows, output.tableStyle)}\n${output.colors.dim(note)}`;
}

function renderProfile(result: Profile, peakBytes: number, output: Output): string {
  const row = (what: string, tokens: number, seconds: number) => [
    `${what} ${tokens}`,
    seconds.toFixed(2),
    (tokens / seconds).toFixed(2),
  ];
  const table = formatTable(
    [
      { header: "", align: "left" },
      { header: "seconds", align: "right" },
      { header: "tokens/s", align: "right" },
    ],
    [
      row("generate", result.generated, result.generateSeconds),
      row("encode", result.encoded, result.encodeSeconds),
    ],
    output.tableStyle,
  );
  return `${table}\npeak memory ${formatBytes(peakBytes)}`;
}
