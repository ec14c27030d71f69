import { bench } from "./bench.ts";
import { calibrate } from "./calibrate.ts";
import { chat } from "./chat/chat.ts";
import type { CommandGroups } from "./command.ts";
import { compare } from "./compare/compare.ts";
import { completion } from "./completion/completion.ts";
import { convert } from "./convert.ts";
import { demo } from "./demo.ts";
import { doctor } from "./doctor.ts";
import { evaluate } from "./evaluate.ts";
import { generate } from "./generate.ts";
import { inspect } from "./inspect.ts";
import { merge } from "./merge.ts";
import { plan } from "./plan.ts";
import { quantize } from "./quantize.ts";
import { report } from "./report/report.ts";
import { serve } from "./serve/serve.ts";
import { verify } from "./verify.ts";

/** All there are, in the order of the help. */
export const commands: CommandGroups = {
  "Make a model": [quantize, calibrate, plan, merge, convert],
  "Run and measure a model": [evaluate, report, compare, generate, chat, serve, bench],
  "Look at what is there": [inspect, verify, doctor],
  "See also": [demo, completion],
};
