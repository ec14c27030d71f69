// A pickle machine that can build data and nothing else: no opcode imports, calls or sets what is not in values.ts.
// Opcodes as in CPython's Lib/pickletools.py; of protocols 2 to 5, those that torch.save makes of a state dict.

import { shown } from "../errors.ts";
import { Machine } from "./machine.ts";
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

const stop = 0x2e;

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
