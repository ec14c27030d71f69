#!/usr/bin/env node
import type { CommandSpec } from "./command.ts";
import { demo } from "./demo.ts";
import { evaluate } from "./evaluate.ts";
import { generate } from "./generate.ts";
import { merge } from "./merge.ts";
import { runProgram } from "./program.ts";
import { quantize } from "./quantize.ts";

const commands: readonly CommandSpec[] = [quantize, merge, evaluate, generate, demo];

process.exitCode = await runProgram(commands, process.argv.slice(2));
