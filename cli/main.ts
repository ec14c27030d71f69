#!/usr/bin/env node
import { chat } from "./chat/chat.ts";
import type { CommandSpec } from "./command.ts";
import { convert } from "./convert.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { evaluate } from "./evaluate.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { merge } from "./merge.ts";
import { plan } from "./plan.ts";
import { runProgram } from "./program.ts";
import { quantize } from "./quantize.ts";
import { verify } from "./verify.ts";

const commands: readonly CommandSpec[] = [
  quantize,
  plan,
  merge,
  convert,
  evaluate,
  generate,
  chat,
  inspect,
  verify,
  doctor,
  demo,
];

process.exitCode = await runProgram(commands, process.argv.slice(2));
