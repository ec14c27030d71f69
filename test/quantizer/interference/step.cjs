// Loaded into the program before it starts (NODE_OPTIONS=--require): once its journal says that a piece of work is done, the
// program is killed, or its disk is full, at the n-th call from there that changes the file system.

const fs = require("node:fs");
const { syncBuiltinESMExports } = require("node:module");

const { NIBBLE_TEST_AFTER: after, NIBBLE_TEST_STEP: step, NIBBLE_TEST_FILL: filler } = process.env;
const originals = { ...fs };
let calls;

function act() {
  if (filler === undefined) process.kill(process.pid, "SIGKILL");
  const file = originals.openSync(filler, "w");
  for (const bytes of [2 ** 16, 512, 1]) {
    try {
      for (;;) originals.writeSync(file, Buffer.alloc(bytes));
    } catch (error) {
      if (error.code !== "ENOSPC") throw error;
    }
  }
  originals.closeSync(file);
}

// Not fsyncSync: what a dead process has written is there without it.
for (const name of ["writeSync", "copyFileSync", "renameSync", "rmSync"]) {
  fs[name] = (...args) => {
    if (calls !== undefined && ++calls === Number(step)) act();
    const result = originals[name](...args);
    if (name === "writeSync" && String(args[1]).includes(`"done":"${after}"`)) calls ??= 0;
    return result;
  };
}
syncBuiltinESMExports();
