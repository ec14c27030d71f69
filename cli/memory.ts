import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import type { MemoryLimit } from "../quantizer/index.ts";

/** The limit that was asked for, or else four fifths of what is free, which is no reason to refuse. */
export function memoryLimit(asked: number | undefined): MemoryLimit {
  return { bytes: asked ?? 0.8 * availableMemory(), isRequired: asked !== undefined };
}

/** Bytes that this process can take without pushing others out; a container's limit counts where it has one. */
export function availableMemory(): number {
  const constrained = process.constrainedMemory();
  return constrained > 0 ? Math.min(freemem(), constrained) : freemem();
}

/**
 * Largest resident memory of this process, in bytes. Linux hands getrusage's figure on from the process that started this
 * one; VmHWM in /proc begins at zero.
 */
export function peakMemoryBytes(): number {
  const kilobytes = highWaterMark() ?? process.resourceUsage().maxRSS;
  return kilobytes * 1024;
}

function highWaterMark(): number | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    const match = /^VmHWM:\s*(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    return match === null ? undefined : Number(match[1]);
  } catch {
    return undefined; // /proc is not mounted
  }
}
