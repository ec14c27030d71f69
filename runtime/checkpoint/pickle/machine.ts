// The state of a pickle machine: bytes to read, a stack with marks, a memo. Each access is checked here.

import { CheckpointError, type CheckpointErrorCode, shown } from "../errors.ts";
import type { Value } from "./values.ts";

/** No name in the table of globals is longer. */
const lineLimitBytes = 256;
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const refusal =
  "which a state dict of plain tensors has not and which could run code; nothing was run. Save the state dict alone " +
  "(torch.save(model.state_dict(), …)), or as safetensors";

const refusedNames: Readonly<Record<number, string>> = {
  80: "PERSID",
  105: "INST",
  111: "OBJ",
  129: "NEWOBJ",
  130: "EXT1",
  131: "EXT2",
  132: "EXT4",
  139: "LONG4",
  146: "NEWOBJ_EX",
  151: "NEXT_BUFFER",
};

export class Machine {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #where: string;
  readonly #stack: Value[] = [];
  /** Stack heights; what lies below the last one is out of reach. */
  readonly #marks: number[] = [];
  readonly #memo = new Map<number, Value>();
  #at = 0;

  constructor(bytes: Uint8Array, where: string) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#where = where;
  }

  push(value: Value): void {
    this.#stack.push(value);
  }

  pop(): Value {
    const value = this.#stack.length > (this.#marks.at(-1) ?? 0) ? this.#stack.pop() : undefined;
    if (value === undefined) throw this.error("takes a value that is not there");
    return value;
  }

  top(): Value {
    const value = this.pop();
    this.push(value);
    return value;
  }

  mark(): void {
    this.#marks.push(this.#stack.length);
  }

  /** Takes everything above the last mark. */
  popMarked(): Value[] {
    const mark = this.#marks.pop();
    if (mark === undefined) throw this.error("takes values up to a mark that is not there");
    return this.#stack.splice(mark);
  }

  memoize(index: number = this.#memo.size): void {
    this.#memo.set(index, this.top());
  }

  recall(index: number): void {
    const value = this.#memo.get(index);
    if (value === undefined) throw this.error(`recalls value ${index}, which it never kept`);
    this.push(value);
  }

  unsigned(count: 1 | 2 | 4): number {
    const at = this.#advance(count);
    if (count === 1) return this.#view.getUint8(at);
    return count === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  int32(): number {
    return this.#view.getInt32(this.#advance(4), true);
  }

  /** 8 bytes, unsigned: a length. */
  length64(): number {
    return Number(this.#view.getBigUint64(this.#advance(8), true));
  }

  float64(): number {
    return this.#view.getFloat64(this.#advance(8), false);
  }

  /** A signed integer of up to 8 bytes, as offsets beyond 2^31 are stored. */
  long(count: number): number {
    if (count > 8) throw this.error(`has an integer of ${count} bytes; expected at most 8`);
    const at = this.#advance(count);
    let value = 0n;
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#bytes[at + i] ?? 0);
    const number = Number(BigInt.asIntN(8 * count, value));
    if (Number.isSafeInteger(number)) return number;
    throw this.error(`has the integer ${number}, which passes 2^53`);
  }

  text(count: number): string {
    const at = this.#advance(count);
    try {
      return utf8.decode(this.#bytes.subarray(at, at + count));
    } catch (cause) {
      throw this.error("has a text that is not UTF-8", "CHECKPOINT_HEADER", { cause });
    }
  }

  line(): string {
    const limit = Math.min(this.#bytes.byteLength, this.#at + lineLimitBytes);
    const end = this.#bytes.subarray(this.#at, limit).indexOf(0x0a);
    if (end >= 0) {
      const line = this.text(end);
      this.#advance(1);
      return line;
    }
    if (limit === this.#bytes.byteLength) this.#advance(lineLimitBytes + 1);
    throw this.error(`has a name of more than ${lineLimitBytes} bytes`);
  }

  finish(): Value {
    const value = this.pop();
    if (this.#stack.length > 0 || this.#marks.length > 0) throw this.error("leaves values unused");
    const rest = this.#bytes.byteLength - this.#at;
    if (rest > 0) throw this.error(`goes on for ${rest} bytes after its end`);
    return value;
  }

  error(
    problem: string,
    code: CheckpointErrorCode = "CHECKPOINT_HEADER",
    options?: ErrorOptions,
  ): CheckpointError {
    return new CheckpointError(code, `${this.#where}, byte ${this.#at}: ${problem}`, options);
  }

  foreignOpcode(code: number): CheckpointError {
    const name = refusedNames[code] ?? `0x${code.toString(16).padStart(2, "0")}`;
    return this.error(`has the opcode ${name}, ${refusal}`, "CHECKPOINT_UNSUPPORTED");
  }

  foreignGlobal(name: string): CheckpointError {
    return this.error(`refers to ${shown(name)}, ${refusal}`, "CHECKPOINT_UNSUPPORTED");
  }

  #advance(count: number): number {
    const at = this.#at;
    if (at + count <= this.#bytes.byteLength) {
      this.#at += count;
      return at;
    }
    throw this.error(`ends too early: ${count} bytes more are needed`, "CHECKPOINT_TRUNCATED");
  }
}
