// Runs Python programs that a model wrote: in a process of its own, with limits, and without a network where the system can do that.
// What this does not keep them from is reading, and as the same user changing, files elsewhere.
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { EvaluationError } from "../errors.ts";

/** As human-eval has it; here of processor time, since a model computes beside it. */
const cpuSeconds = 3;
/** After this a program is ended whatever it does; a busy machine may need long to start it. */
const wallMs = 15_000;
const memoryBytes = 2 * 2 ** 30;
const fileBytes = 2 ** 20;
/** Tells that the whole program ran, which an exit of its own does not. */
const passed = 77;

export type PythonSandbox = {
  /** What keeps a program from the rest of the machine, in words. */
  readonly isolation: string;
  /** Whether it ran to its end without an error, within its limits. */
  run(program: string): Promise<boolean>;
};

/** The program comes from standard input. What would outlive or harm is taken away before it runs. */
const wrapper = `
import os, resource, signal, sys
program = sys.stdin.buffer.read().decode()
def limit(kind, wanted):
    hard = resource.getrlimit(kind)[1]
    wanted = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (wanted, wanted))
limit(resource.RLIMIT_AS, ${memoryBytes})
limit(resource.RLIMIT_FSIZE, ${fileBytes})
limit(resource.RLIMIT_CPU, ${cpuSeconds + 1})
limit(resource.RLIMIT_CORE, 0)
limit(resource.RLIMIT_NOFILE, 64)
def late(number, frame):
    raise TimeoutError()
signal.signal(signal.SIGPROF, late)
leave = os._exit
import shutil, subprocess
for module, names in (
    (os, "kill killpg system fork forkpty remove unlink removedirs rmdir rename renames replace truncate chmod chown chroot "
         "link symlink setuid posix_spawn posix_spawnp execv execve _exit"),
    (shutil, "rmtree move chown"),
    (subprocess, "Popen run call check_call check_output"),
):
    for name in names.split():
        if hasattr(module, name):
            setattr(module, name, None)
signal.setitimer(signal.ITIMER_PROF, ${cpuSeconds})
try:
    exec(program, {})
except BaseException:
    leave(1)
leave(${passed})
`;

const environment = { PATH: "/usr/local/bin:/usr/bin:/bin", LANG: "C.UTF-8" };

/** A command that runs another in namespaces of its own, and what those are. */
type Isolation = { readonly command: readonly string[]; readonly what: string };

/** The best first. */
const namespaces: readonly Isolation[] = [
  {
    command: ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"],
    what: "network and processes of its own (unshare)",
  },
  { command: ["unshare", "--map-root-user", "--net"], what: "a network of its own (unshare)" },
];

/**
 * @param allowNetwork  whether to go on where programs cannot be kept from the network
 * @param isolations  ways to keep them from it, the best first; those of this system by default
 * @throws EvaluationError EVALUATION_SANDBOX if there is no python3, or no way to keep programs from the network
 */
export function openPythonSandbox(
  { allowNetwork }: { readonly allowNetwork: boolean },
  isolations: readonly Isolation[] = namespaces,
): PythonSandbox {
  const python = findPython();
  const found = isolations.find(({ command }) => works([...command, ...python]));
  if (found === undefined && !allowNetwork) {
    throw new EvaluationError(
      "EVALUATION_SANDBOX",
      "this system has no way to keep generated code from the network (unshare with user namespaces); " +
        "--allow-network runs it all the same",
    );
  }
  const command = [...(found?.command ?? []), ...python];
  const limits = `${cpuSeconds} s of processor time, 2 GiB, files of at most 1 MiB, an empty directory`;
  const slots = new Slots(availableParallelism());
  return {
    isolation: `generated code ran in python3 with ${found?.what ?? "NO protection of the network"}; ${limits}`,
    run: (program) => slots.use(() => runOnce(command, program)),
  };
}

/**
 * The command that runs a program of its standard input.
 *
 * @throws EvaluationError EVALUATION_SANDBOX
 */
function findPython(): readonly string[] {
  // Its own path, since programs run with another PATH than ours.
  const { status, stdout } = spawnSync("python3", ["-c", "import sys; print(sys.executable)"], {
    ...{ encoding: "utf8", timeout: wallMs },
  });
  const python = [status === 0 ? stdout.trim() : "", "-I", "-B", "-c", wrapper];
  if (status === 0 && works(python)) return python;
  throw new EvaluationError(
    "EVALUATION_SANDBOX",
    "no python3 on the PATH runs a program with limits, so generated code cannot be run; install it, or leave " +
      "--run-generated-code out",
  );
}

/** Whether an empty program runs to its end, as all have to. */
function works([file = "", ...args]: readonly string[]): boolean {
  const options = { env: environment, input: "", timeout: wallMs } as const;
  return spawnSync(file, args, options).status === passed;
}

async function runOnce([file = "", ...args]: readonly string[], program: string): Promise<boolean> {
  const cwd = mkdtempSync(join(tmpdir(), "nibble-program-"));
  try {
    const child = spawn(file, args, {
      ...{ cwd, detached: true, stdio: ["pipe", "ignore", "ignore"] },
      env: { ...environment, HOME: cwd },
    });
    return (await exitOf(child, program)) === passed;
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}

function exitOf(child: ChildProcess, program: string): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => killGroup(child), wallMs);
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      // What it started and left behind.
      killGroup(child);
      resolve(code);
    });
    // One that ended before it read all of the program has failed by its exit code.
    child.stdin?.on("error", () => {});
    child.stdin?.end(program);
  });
}

function killGroup({ pid }: ChildProcess): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    if (!isGone) throw error;
  }
}

/** Lets so many at a time. */
class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(count: number) {
    this.#free = count;
  }

  async use<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
