// Runs command lines one after another, each a message and answered by one: starting the program takes longer than most of them.
import { commands } from "../../dist/cli/commands.js";
import { runProgram } from "../../dist/cli/program.js";

const streams = { stdout: process.stdout, stderr: process.stderr };
const written = { stdout: "", stderr: "" };
for (const [name, stream] of Object.entries(streams)) {
  stream.setMaxListeners(0);
  stream.write = (text, ...rest) => {
    written[name] += text;
    rest.at(-1)?.();
    return true;
  };
}

process.on("message", async (args) => {
  for (const name of Object.keys(written)) written[name] = "";
  const status = await runProgram(commands, args);
  process.send({ status, ...written });
});
