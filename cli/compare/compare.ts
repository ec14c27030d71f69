import { basename, resolve } from "node:path";
import type { Command } from "commander";
import { type CommonFlags, integer, path, repeated } from "../arguments.ts";
import { type BatchPrompt, readPrompts } from "../batch/prompts-file.ts";
import type { CommandContext, CommandSpec } from "../command.ts";
import { openComputeDevice } from "../compute-device.ts";
import { UsageError } from "../errors.ts";
import { checkSameTokenizer } from "../evaluation.ts";
import { modelDirectory } from "../model-directory.ts";
import { compareOutputs } from "./outputs.ts";
import { renderComparison } from "./rendering.ts";

type CompareFlags = CommonFlags & {
  readonly prompt?: readonly string[];
  readonly prompts?: string;
  readonly chat?: boolean;
  readonly maxTokens: number;
};

export const compare: CommandSpec = {
  name: "compare",
  define: (command) => {
    command
      .description(
        "What two models write after the same prompts, side by side: where their outputs part, and how likely each finds " +
          "the tokens there.",
      )
      .argument("<a>", "model directory or model id, such as the original", modelDirectory)
      .argument("<b>", "another with the same tokenizer, such as a quantized copy", modelDirectory)
      .option("-p, --prompt <text>", "what to continue or to answer; may be repeated", repeated)
      .option("--prompts <file>", "prompts of a .jsonl file, see below", path)
      .option("--chat", "ask the prompts as a user would")
      .option("--max-tokens <n>", "length of an output", integer(1), 128)
      .addHelpText("after", examples);
  },
  run: runCompare,
};

const examples = `
Both models decode greedily, so that nothing but the models makes a difference.
Where the outputs part, the five most likely tokens of each model are shown with
the probabilities that both give them; * marks what a model chose.

--prompts has a JSON object per line, {"prompt": TEXT} or {"messages": [...]}.

Models take turns: neither has to fit in memory with the other.

Examples:
  nibble compare qwen-mini qwen-mini-int4 --prompt "It was a dark night, and"
  nibble compare qwen-mini qwen-mini-int4 --chat -p "What is 12 * 9?" -p "Why?"
  nibble compare qwen-mini qwen-mini-int4 --prompts prompts.jsonl --json
`;

async function runCompare(command: Command, context: CommandContext): Promise<void> {
  const [a = "", b = ""] = command.processedArgs as string[];
  const flags = command.opts<CompareFlags>();
  const prompts = promptsOf(flags);
  checkSameTokenizer([a, b]);
  using device = openComputeDevice(flags);
  const isGiven = command.getOptionValueSource("maxTokens") === "cli";
  const compared = await compareOutputs(
    {
      ...{ models: [a, b], prompts, chat: flags.chat ?? false },
      maxTokens: { count: flags.maxTokens, isGiven },
    },
    { ...context, device },
  );
  const same = compared.filter(({ difference }) => difference === null).length;
  const result = { models: [a, b], maxTokens: flags.maxTokens, same, prompts: compared };
  context.output.result(result, () => renderComparison(shortNames(a, b), compared, context.output));
}

function promptsOf({ prompt = [], prompts }: CompareFlags): readonly BatchPrompt[] {
  if (prompt.length === 0 && prompts === undefined) {
    throw new UsageError("nothing to compare: give --prompt TEXT or --prompts FILE");
  }
  const given = prompt.map((text): BatchPrompt => ({ prompt: text }));
  return prompts === undefined ? given : [...given, ...readPrompts(prompts).prompts];
}

/** The directories' own names, unless those are the same. */
function shortNames(a: string, b: string): readonly [string, string] {
  const [first, second] = [basename(resolve(a)), basename(resolve(b))];
  return first === second ? [a, b] : [first, second];
}
