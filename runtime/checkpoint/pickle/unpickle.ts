// A pickle machine that can build data and nothing else: no opcode imports, calls or sets what is not in values.ts.
// Opcodes as in CPython's Lib/pickletools.py; of protocols 2 to 5, those that torch.save makes of a state dict.

import { CheckpointError, type CheckpointErrorCode, shown } from "../errors.ts";
import {
  construct,
  type Dict,
  describe,
  emptyDict,
  findGlobal,
  isKind,
  storageOf,
  type Value,
} from "./values.ts";

/** A tensor takes about 40 steps, so this is 10 000 tensors; a 72B model has a thousand. */
const stepLimit = 400_000;
/** No name in a table of globals is longer. */
const lineLimitBytes = 256;

/**
 * Reads one pickle.
 *
 * @param where  file and record, for messages
 * @returns the value it describes; values may be shared and may contain themselves
 * @throws CheckpointError CHECKPOINT_UNSUPPORTED for an opcode or a name that could run code, CHECKPOINT_TRUNCATED where it
 *   ends early, CHECKPOINT_HEADER for what is not well-formed
 */
export function unpickle(bytes: Uint8Array, where: string): Value {
  const machine = new Machine(bytes, where);
  for (let step = 0; step < stepLimit; step++) {
    const code = machine.unsigned(1);
    if (code === stop) return machine.finish();
    const operation = operations.get(code);
    if (operation === undefined) throw machine.foreignOpcode(code);
    operation(machine);
  }
  throw machine.error(`has more than ${stepLimit} operations; this is not a state dict`);
}

class Machine {
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
      const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
      return decoder.decode(this.#bytes.subarray(at, at + count));
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

const refusal =
  "which a state dict of plain tensors has not and which could run code; nothing was run. Save the state dict alone " +
  "(torch.save(model.state_dict(), …)), or as safetensors";

const stop = 0x2e;

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

const operations: ReadonlyMap<number, (machine: Machine) => void> = new Map(
  Object.entries({
    PROTO: [0x80, protocol],
    FRAME: [0x95, (m) => void m.length64()],
    MARK: [0x28, (m) => m.mark()],

    NONE: [0x4e, (m) => m.push(null)],
    NEWTRUE: [0x88, (m) => m.push(true)],
    NEWFALSE: [0x89, (m) => m.push(false)],
    BININT: [0x4a, (m) => m.push(m.int32())],
    BININT1: [0x4b, (m) => m.push(m.unsigned(1))],
    BININT2: [0x4d, (m) => m.push(m.unsigned(2))],
    LONG1: [0x8a, (m) => m.push(m.long(m.unsigned(1)))],
    BINFLOAT: [0x47, (m) => m.push(m.float64())],
    SHORT_BINUNICODE: [0x8c, (m) => m.push(m.text(m.unsigned(1)))],
    BINUNICODE: [0x58, (m) => m.push(m.text(m.unsigned(4)))],
    BINUNICODE8: [0x8d, (m) => m.push(m.text(m.length64()))],

    EMPTY_TUPLE: [0x29, (m) => m.push({ kind: "tuple", items: [] })],
    TUPLE1: [0x85, (m) => pushTuple(m, 1)],
    TUPLE2: [0x86, (m) => pushTuple(m, 2)],
    TUPLE3: [0x87, (m) => pushTuple(m, 3)],
    TUPLE: [0x74, (m) => m.push({ kind: "tuple", items: m.popMarked() })],
    EMPTY_LIST: [0x5d, (m) => m.push({ kind: "list", items: [] })],
    APPEND: [0x61, (m) => append(m, [m.pop()])],
    APPENDS: [0x65, (m) => append(m, m.popMarked())],
    EMPTY_DICT: [0x7d, (m) => m.push(emptyDict())],
    SETITEM: [0x73, (m) => setItems(m, [m.pop(), m.pop()].reverse())],
    SETITEMS: [0x75, (m) => setItems(m, m.popMarked())],

    BINPUT: [0x71, (m) => m.memoize(m.unsigned(1))],
    LONG_BINPUT: [0x72, (m) => m.memoize(m.unsigned(4))],
    MEMOIZE: [0x94, (m) => m.memoize()],
    BINGET: [0x68, (m) => m.recall(m.unsigned(1))],
    LONG_BINGET: [0x6a, (m) => m.recall(m.unsigned(4))],

    GLOBAL: [0x63, (m) => pushGlobal(m, m.line(), m.line())],
    STACK_GLOBAL: [0x93, stackGlobal],
    BINPERSID: [0x51, pushStorage],
    REDUCE: [0x52, reduce],
    BUILD: [0x62, build],
  } satisfies Record<string, [number, (machine: Machine) => void]>).map(([, entry]) => entry),
);

function protocol(machine: Machine): void {
  const version = machine.unsigned(1);
  if (version >= 2 && version <= 5) return;
  throw machine.error(
    `is of pickle protocol ${version}; expected 2 to 5`,
    "CHECKPOINT_UNSUPPORTED",
  );
}

function pushTuple(machine: Machine, count: number): void {
  const items = Array.from({ length: count }, () => machine.pop()).reverse();
  machine.push({ kind: "tuple", items });
}

function append(machine: Machine, items: readonly Value[]): void {
  const list = machine.top();
  if (!isKind(list, "list")) throw machine.error(`appends to ${describe(list)}`);
  for (const item of items) list.items.push(item);
}

function setItems(machine: Machine, items: readonly Value[]): void {
  const { entries } = requireDict(machine, machine.top());
  if (items.length % 2 !== 0) throw machine.error("has a key without a value");
  for (let i = 0; i < items.length; i += 2) {
    const [key, value = null] = items.slice(i, i + 2);
    if (typeof key !== "string") {
      throw machine.error(
        `has ${describe(key)} as a key; expected names`,
        "CHECKPOINT_UNSUPPORTED",
      );
    }
    if (entries.has(key)) throw machine.error(`has the key ${shown(key)} twice`);
    entries.set(key, value);
  }
}

function requireDict(machine: Machine, value: Value): Dict {
  if (!isKind(value, "dict")) throw machine.error(`sets what belongs to ${describe(value)}`);
  return value;
}

function pushGlobal(machine: Machine, module: string, name: string): void {
  const value = findGlobal(module, name);
  if (value === undefined) throw machine.foreignGlobal(`${module}.${name}`);
  machine.push(value);
}

function stackGlobal(machine: Machine): void {
  const [name, module] = [machine.pop(), machine.pop()];
  if (typeof name !== "string" || typeof module !== "string") {
    throw machine.error(`refers to ${describe(module)} and ${describe(name)} as a name`);
  }
  pushGlobal(machine, module, name);
}

function pushStorage(machine: Machine): void {
  const storage = storageOf(machine.pop());
  if (storage === undefined) throw machine.error("refers to something that is not a storage");
  machine.push(storage);
}

function reduce(machine: Machine): void {
  const [args, callable] = [machine.pop(), machine.pop()];
  if (!isKind(callable, "callable") || !isKind(args, "tuple")) {
    throw machine.error(`calls ${describe(callable)} with ${describe(args)}`);
  }
  const value = construct(callable, args.items);
  if (value === undefined) {
    throw machine.error(
      `has arguments of ${callable.name} that a plain tensor has not`,
      "CHECKPOINT_UNSUPPORTED",
    );
  }
  machine.push(value);
}

/** An OrderedDict of module.state_dict() carries the attribute _metadata, which says nothing about tensors. */
function build(machine: Machine): void {
  const state = machine.pop();
  requireDict(machine, machine.top());
  requireDict(machine, state);
}
