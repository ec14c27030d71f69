// What a pickle may hold here: plain data, and descriptions of tensors. Nothing in this file can act.

export type Value =
  | null
  | boolean
  | number
  | string
  | Tuple
  | List
  | Dict
  | Callable
  | StorageType
  | Storage
  | Tensor;

export type Tuple = { readonly kind: "tuple"; readonly items: readonly Value[] };
export type List = { readonly kind: "list"; readonly items: Value[] };
export type Dict = { readonly kind: "dict"; readonly entries: Map<string, Value> };
export type Callable = { readonly kind: "callable"; readonly name: CallableName };
export type CallableName = "OrderedDict" | "_rebuild_tensor_v2" | "_rebuild_parameter";
export type StorageType = { readonly kind: "storage type"; readonly dtype: string };

/** Elements of one type in a record of the file. */
export type Storage = {
  readonly kind: "storage";
  readonly dtype: string;
  /** The record's name after data/. */
  readonly key: string;
  /** Elements. */
  readonly count: number;
};

/** A view of a storage. The numbers are as the file has them: negative, fractional or huge. */
export type Tensor = {
  readonly kind: "tensor";
  readonly storage: Storage;
  /** Elements before the first one. */
  readonly offset: number;
  readonly shape: readonly number[];
  /** Elements from one index to the next, by dimension. */
  readonly strides: readonly number[];
};

const storages: Readonly<Record<string, string>> = {
  BFloat16Storage: "BF16",
  HalfStorage: "F16",
  FloatStorage: "F32",
  DoubleStorage: "F64",
  ByteStorage: "U8",
  CharStorage: "I8",
  ShortStorage: "I16",
  IntStorage: "I32",
  LongStorage: "I64",
  BoolStorage: "BOOL",
  ComplexFloatStorage: "C64",
  ComplexDoubleStorage: "C128",
};

/** The only names a pickle may refer to, with what stands for them; dtypes in the spelling of safetensors. */
const globals: ReadonlyMap<string, Callable | StorageType> = new Map<
  string,
  Callable | StorageType
>([
  ["collections.OrderedDict", { kind: "callable", name: "OrderedDict" }],
  ["torch._utils._rebuild_tensor_v2", { kind: "callable", name: "_rebuild_tensor_v2" }],
  ["torch._utils._rebuild_parameter", { kind: "callable", name: "_rebuild_parameter" }],
  ...Object.entries(storages).map(
    ([name, dtype]) => [`torch.${name}`, { kind: "storage type", dtype }] as const,
  ),
]);

/** @param module  such as torch._utils; a dot may not move between the two names */
export function findGlobal(module: string, name: string): Callable | StorageType | undefined {
  return name.includes(".") ? undefined : globals.get(`${module}.${name}`);
}

/** @returns what `callable` stands for with these arguments, or undefined if it does not take them */
export function construct({ name }: Callable, args: readonly Value[]): Value | undefined {
  if (name === "OrderedDict") return args.length === 0 ? emptyDict() : undefined;
  if (name === "_rebuild_tensor_v2") return tensorOf(args);
  const [tensor, , hooks = null, ...more] = args;
  return more.length === 0 && isKind(tensor, "tensor") && isEmpty(hooks) ? tensor : undefined;
}

/** torch's persistent ids: ("storage", type, key, device, element count). */
export function storageOf(id: Value): Storage | undefined {
  if (!isKind(id, "tuple")) return undefined;
  const [tag, type, key, device, count, ...more] = id.items;
  const isStorage =
    tag === "storage" && typeof key === "string" && typeof device === "string" && more.length === 0;
  if (!isStorage || !isKind(type, "storage type") || typeof count !== "number") return undefined;
  return { kind: "storage", dtype: type.dtype, key, count };
}

export function emptyDict(): Dict {
  return { kind: "dict", entries: new Map() };
}

export function isKind<Kind extends Exclude<Value, null | boolean | number | string>["kind"]>(
  value: Value | undefined,
  kind: Kind,
): value is Extract<Value, { kind: Kind }> {
  return typeof value === "object" && value !== null && value.kind === kind;
}

/** For messages: never the contents, which may refer to themselves. */
export function describe(value: Value | undefined): string {
  if (value === undefined) return "nothing";
  if (value === null) return "None";
  return `a ${typeof value === "object" ? value.kind : typeof value}`;
}

function tensorOf(args: readonly Value[]): Tensor | undefined {
  const [storage, offset, shape, strides, , hooks = null, metadata = null, ...more] = args;
  if (!isKind(storage, "storage") || typeof offset !== "number" || more.length > 0)
    return undefined;
  if (!isEmpty(hooks) || !isEmpty(metadata)) return undefined;
  const [sizes, steps] = [numbers(shape), numbers(strides)];
  if (sizes === undefined || steps === undefined) return undefined;
  return { kind: "tensor", storage, offset, shape: sizes, strides: steps };
}

function numbers(value: Value | undefined): readonly number[] | undefined {
  if (!isKind(value, "tuple")) return undefined;
  const items = value.items.filter((item) => typeof item === "number");
  return items.length === value.items.length ? items : undefined;
}

/** Hooks and views such as conjugates would change what a tensor means. */
function isEmpty(value: Value): boolean {
  return value === null || (isKind(value, "dict") && value.entries.size === 0);
}
