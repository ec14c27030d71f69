import type { Command } from "commander";
import { defaultSystem, openModel, readGenerationConfig } from "../../runtime/index.ts";
import { type AllowedSpecial, allowedSpecial, type CommonFlags, integer } from "../arguments.ts";
import { arithmeticOf } from "../arithmetic-flags.ts";
import type { CommandContext, CommandSpec } from "../command.ts";
import { openComputeDevice } from "../compute-device.ts";
import { modelDirectory } from "../model-directory.ts";
import { describeUnused, openTokenizer, requireChatModel } from "../model-files.ts";
import { addSamplingFlags, type SamplingFlags, samplingOf } from "../sampling-flags.ts";
import { keepPackedWeights, weightCacheOf } from "../weight-cache.ts";
import { converse } from "./conversation.ts";
import { pipedLines, terminalLines } from "./lines.ts";
import { ChatSession, ModelEngine } from "./session.ts";

type ChatFlags = CommonFlags &
  SamplingFlags & {
    readonly system: string;
    readonly maxWindowSize?: number;
    readonly allowedSpecial: AllowedSpecial;
    readonly verbose?: boolean;
  };

export const chat: CommandSpec = { name: "chat", define: defineChat, run: runChat };

const examples = `
Settings default to the model's generation_config.json. The history of the
chat is part of each prompt as far as the window reaches, newest turns first.
On a terminal, /help lists what can be typed besides messages, and Ctrl-C stops
an answer. From a pipe, each line is a message; --json prints an object for
each answer.

Examples:
  nibble chat Qwen-1_8B-Chat-Int4
  nibble chat Qwen-1_8B-Chat-Int4 --system "Answer in one word." --seed 7
  printf 'What is 2 + 3?\\nAnd 4 more?\\n' | nibble chat Qwen-1_8B-Chat-Int4 -q
`;

function defineChat(command: Command): void {
  command
    .description("Talk with a chat model, float or quantized.")
    .argument("<model>", "model directory or model id", modelDirectory)
    .option("--system <text>", "system text", defaultSystem);
  addSamplingFlags(command);
  command
    .option(
      "--max-window-size <tokens>",
      "limit for system text and history in a prompt",
      integer(1),
    )
    .option(
      "--allowed-special <forms>",
      "control tokens to read as such in messages: all, none, or a list",
      allowedSpecial,
      "none",
    )
    .option("-v, --verbose", "also tokens and speed of each answer")
    .addHelpText("after", examples);
}

async function runChat(command: Command, context: CommandContext): Promise<void> {
  const [dir = ""] = command.processedArgs as string[];
  const flags = command.opts<ChatFlags>();
  const { output } = context;
  const config = readGenerationConfig(dir);
  requireChatModel(dir, config, "use nibble generate");
  using device = openComputeDevice(flags);
  const packedCache = weightCacheOf(flags);
  using model = openModel(dir, device, { ...arithmeticOf(flags), packedCache });
  const unused = describeUnused(model);
  if (unused !== undefined) output.note(unused);
  using tokenizer = openTokenizer(model);
  using engine = new ModelEngine(model, tokenizer, flags);
  const session = new ChatSession(engine, flags.system, {
    ...samplingOf(flags, config),
    maxNewTokens: flags.maxNewTokens ?? config.maxNewTokens,
    maxWindow: flags.maxWindowSize ?? config.maxWindow,
  });
  const isTerminal =
    process.stdin.isTTY === true && process.stdout.isTTY === true && !output.isJson;
  using source = isTerminal ? terminalLines() : pipedLines();
  if (isTerminal)
    output.note(`${dir}: /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves`);
  await converse(session, source, { ...context, isTerminal, isVerbose: flags.verbose ?? false });
  await keepPackedWeights(model, output, context.signal);
}
