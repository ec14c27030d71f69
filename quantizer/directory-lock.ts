// One run at a time in an output directory. A lock is an empty file whose name says who holds it, so that no lock is ever
// taken from a holder: each run creates its own and then looks for others, and the ones of dead processes are removed.
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { kill, pid as ownPid } from "node:process";
import { QuantizeError } from "./errors.ts";

/** Ends as partial files do, so that a directory with nothing else counts as empty and as unfinished. */
const lockName = /^\.nibble-lock-(.+)-(\d+)-(\d+)\.partial$/;

type Holder = { readonly host: string; readonly pid: number; readonly started: string };

export function isLock(name: string): boolean {
  return lockName.test(name);
}

/**
 * @throws QuantizeError QUANTIZE_IN_USE if another run, of this process or another, works in the directory. Whether one on
 *   another host still does cannot be known: the message names the file to delete.
 */
export function requireUnlocked(dir: string): void {
  const other = otherLocks(dir).find(({ holder }) => isRunning(holder));
  if (other !== undefined) refuse(dir, other.name, other.holder);
}

/**
 * Reserves an existing directory until disposed or until the process ends in any way.
 *
 * @throws QuantizeError QUANTIZE_IN_USE as `requireUnlocked` does; the operating system's error if it cannot be written
 */
export class DirectoryLock implements Disposable {
  readonly #path: string;

  constructor(dir: string) {
    const own = ownHolder();
    const name = nameOf(own);
    this.#path = join(dir, name);
    try {
      closeSync(openSync(this.#path, "wx"));
    } catch (error) {
      if (error instanceof Error && "code" in error && error.code === "EEXIST") {
        refuse(dir, name, own);
      }
      throw error;
    }
    try {
      requireUnlocked(dir);
      for (const { name } of otherLocks(dir)) rmSync(join(dir, name), { force: true });
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#path, { force: true });
  }
}

function refuse(dir: string, name: string, { host, pid }: Holder): never {
  const isHere = host === ownHost();
  throw new QuantizeError(
    "QUANTIZE_IN_USE",
    `${dir}: process ${pid}${isHere ? "" : ` on ${host}`} is writing there; ` +
      (isHere
        ? "wait for it, or choose another directory"
        : `if it no longer runs, delete ${join(dir, name)}`),
  );
}

function otherLocks(dir: string): readonly { readonly name: string; readonly holder: Holder }[] {
  const own = nameOf(ownHolder());
  return readdirSync(dir).flatMap((name) => {
    const [, host = "", pid = "", started = ""] = lockName.exec(name) ?? [];
    if (host === "" || name === own) return [];
    return [{ name, holder: { host, pid: Number(pid), started } }];
  });
}

function nameOf({ host, pid, started }: Holder): string {
  return `.nibble-lock-${host}-${pid}-${started}.partial`;
}

function ownHolder(): Holder {
  const started = processStatus(ownPid)?.started ?? Math.round(performance.timeOrigin).toString();
  return { host: ownHost(), pid: ownPid, started };
}

function ownHost(): string {
  return hostname()
    .replaceAll(/[^\w.-]/g, "_")
    .slice(0, 64);
}

function isRunning({ host, pid, started }: Holder): boolean {
  if (host !== ownHost()) return true;
  const status = processStatus(pid);
  // A number is given again, in containers soon; a killed process that nobody waited for still has its entry.
  if (status !== undefined) return status.started === started && !/[ZX]/.test(status.state);
  if (!Number.isSafeInteger(pid) || pid < 1 || pid >= 2 ** 31) return false;
  try {
    kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** From Linux's /proc/PID/stat; undefined elsewhere, and for processes that are gone or hidden. */
function processStatus(
  pid: number,
): { readonly state: string; readonly started: string } | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
    // The second field is the program's name in parentheses and may hold anything.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { state: fields[0] ?? "", started: fields[19] ?? "" };
  } catch {
    return undefined;
  }
}
