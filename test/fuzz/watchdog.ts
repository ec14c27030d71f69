// Ends a process that hangs in synchronous code, where no timer of its own would fire.

import { Worker } from "node:worker_threads";

const code = `
  const { workerData } = require("node:worker_threads");
  const { shared, limitMs } = workerData;
  for (;;) {
    const current = Atomics.load(shared, 0);
    if (Atomics.wait(shared, 0, current, limitMs) !== "timed-out") continue;
    require("node:fs").writeSync(2, \`case \${current} did not end within \${limitMs} ms\\n\`);
    process.kill(process.pid, "SIGKILL");
  }
`;

export class Watchdog implements AsyncDisposable {
  readonly #shared = new Int32Array(new SharedArrayBuffer(4));
  readonly #worker: Worker;

  constructor(limitMs: number) {
    this.#worker = new Worker(code, { eval: true, workerData: { shared: this.#shared, limitMs } });
  }

  /** Case `number` begins, so the one before has ended. */
  tell(number: number): void {
    Atomics.store(this.#shared, 0, number);
    Atomics.notify(this.#shared, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#worker.terminate();
  }
}
