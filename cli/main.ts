#!/usr/bin/env node
import { commands } from "./commands.ts";
import { runProgram } from "./program.ts";

process.exitCode = await runProgram(commands, process.argv.slice(2));
