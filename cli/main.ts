#!/usr/bin/env node
import { calibrate } from "./calibrate.ts";
import { chat } from "./chat/chat.ts";
import type { CommandSpec } from "./command.ts";
import { completion } from "./completion/completion.ts";
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
  calibrate,
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
  completion,
];

process.exitCode = await runProgram(commands, process.argv.slice(2));
