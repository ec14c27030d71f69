import { Argument, type Command } from "commander";
import type { CommandContext, CommandSpec } from "../command.ts";
import { scripts } from "./scripts.ts";
import { completionsOf } from "./table.ts";

const help = `
Put one of these where your shell starts:
  bash, in ~/.bashrc:  source <(nibble completion bash)
  zsh, in ~/.zshrc, after compinit:  source <(nibble completion zsh)
  fish:  nibble completion fish > ~/.config/fish/completions/nibble.fish

bash 3.2, as macOS has it, needs eval "$(nibble completion bash)" instead. After
an update of nibble a script kept in a file is printed anew.
`;

export const completion: CommandSpec = {
  name: "completion",
  define: (command) => {
    command
      .description("Print a script that completes commands, flags and their values in a shell.")
      .addArgument(new Argument("<shell>", "whose script").choices(Object.keys(scripts)))
      .addHelpText("after", help);
  },
  run: printScript,
};

async function printScript(command: Command, { output }: CommandContext): Promise<void> {
  const [shell = ""] = command.processedArgs as string[];
  const commands = completionsOf(command.parent ?? command);
  const script = scripts[shell]?.(commands) ?? "";
  output.result({ shell, script }, () => script);
}
