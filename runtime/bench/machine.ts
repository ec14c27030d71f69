// What the machine delivers at this moment, for other times to be compared with.
import { randomFillSync } from "node:crypto";
import { type Device, ops, type PeakKind, type U8 } from "../../kernels/index.ts";

export type MachineRates = {
  /** Bytes per second of reading memory, the best of several ways */
  readonly bandwidth: number;
  /** Operations per second, two for a multiply-add; absent where the processor has no such instruction */
  readonly peaks: Readonly<Partial<Record<PeakKind, number>>>;
};

/** A third of it would fit the largest caches; below a gigabyte some of it might. */
export const fullBufferBytes: number = 2 ** 30;

/** How many pieces the buffer is read in: one stretch per thread, or many short ones. */
const pieceCounts = [1, 32, 1024];
const peakSeconds = 0.05;
const fillBytes = 2 ** 24;

/** Measures one device again and again, with a buffer of its own. */
export class Machine implements Disposable {
  readonly #device: Device;
  readonly #buffer: U8;

  /** @param bytes  to read; several times the last-level cache */
  constructor(device: Device, bytes: number = fullBufferBytes) {
    this.#device = device;
    this.#buffer = device.empty("u8", [bytes]);
    // Random, and everywhere different: a host may keep equal pages of a guest once, and then they lie in its cache.
    for (let begin = 0; begin < bytes; begin += fillBytes) {
      const chunk = randomFillSync(new Uint8Array(Math.min(fillBytes, bytes - begin)));
      using part = this.#buffer.narrow(0, begin, chunk.length);
      part.write(chunk);
    }
  }

  async measure(kinds: readonly PeakKind[] = ops.peakKinds): Promise<MachineRates> {
    const bandwidths: number[] = [];
    for (const pieces of pieceCounts) bandwidths.push(await this.#read(pieces));
    const peaks: Partial<Record<PeakKind, number>> = {};
    for (const kind of kinds) {
      const peak = await this.#peak(kind);
      if (peak > 0) peaks[kind] = peak;
    }
    return { bandwidth: Math.max(...bandwidths), peaks };
  }

  async #read(pieces: number): Promise<number> {
    const seconds = await this.#time(() =>
      ops.readAll(this.#buffer, pieces * this.#device.threads),
    );
    return this.#buffer.size(0) / seconds;
  }

  async #peak(kind: PeakKind): Promise<number> {
    let repeats = 2 ** 16;
    for (;;) {
      let millions = 0;
      const started = performance.now();
      using count = ops.arithmeticPeak(this.#device, kind, repeats);
      [millions = 0] = await count.read();
      const seconds = (performance.now() - started) / 1000;
      if (millions === 0) return 0;
      if (seconds >= peakSeconds) return (2e6 * millions) / seconds;
      // The first runs also wake the processor up.
      repeats = Math.ceil(repeats * Math.max(2, (1.2 * peakSeconds) / seconds));
    }
  }

  async #time(enqueue: () => Disposable): Promise<number> {
    await this.#device.sync();
    const started = performance.now();
    enqueue()[Symbol.dispose]();
    await this.#device.sync();
    return (performance.now() - started) / 1000;
  }

  [Symbol.dispose](): void {
    this.#buffer[Symbol.dispose]();
  }
}
