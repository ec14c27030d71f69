// Checks the metadata of an Arrow message before the library decodes it: the FlatBuffers library trusts every offset and
// length in it, and runs for minutes over a count that is not true.
//
// https://arrow.apache.org/docs/format/Columnar.html and Message.fbs, Schema.fbs in apache/arrow

/** What stands at an offset: a table, a vector of tables, a vector of structs of so many bytes, or text. */
type Target =
  | { readonly table: Table }
  | { readonly tables: Table }
  | { readonly bytesEach: number };

/** Fields by number; those of fixed size are left out, as nothing can go wrong with them. */
type Table = () => Readonly<Record<number, Target>>;

const text: Target = { bytesEach: 1 };
const keyValue: Table = () => ({ 0: text, 1: text });
const leaf: Table = () => ({});
const field: Table = () => ({
  0: text,
  3: { table: leaf },
  4: { table: () => ({ 1: { table: leaf } }) },
  5: { tables: field },
  6: { tables: keyValue },
});
const schema: Table = () => ({
  1: { tables: field },
  2: { tables: keyValue },
  3: { bytesEach: 8 },
});
const recordBatch: Table = () => ({
  1: { bytesEach: 16 },
  2: { bytesEach: 16 },
  3: { table: leaf },
  4: { bytesEach: 8 },
});
const dictionaryBatch: Table = () => ({ 1: { table: recordBatch } });

/** By header type. */
const headers: Readonly<Record<number, Table>> = {
  1: schema,
  2: dictionaryBatch,
  3: recordBatch,
};

/** Far more than a schema needs; offsets may let tables be shared many times over. */
const maxTables = 20_000;
/** Rows or elements of a batch. */
const maxLength = 2 ** 27;

/**
 * @returns the bytes of the body that follows
 * @throws RangeError on an offset, count or length that cannot be true
 */
export function checkMetadata(metadata: Uint8Array): number {
  const checker = new Checker(metadata);
  const message = checker.root();
  const headerType = checker.number(message, 1, 1);
  const header = headers[headerType];
  if (header === undefined) throw new RangeError(`a message of unknown type ${headerType}`);
  checker.check(message, () => ({ 2: { table: header }, 4: { tables: keyValue } }));
  checker.checkBatch(message, headerType);
  return checker.number(message, 3, 8);
}

/**
 * Checks the index at the end of a file.
 *
 * @returns where the messages begin that it names
 * @throws RangeError on an offset or count that cannot be true
 */
export function checkIndex(footer: Uint8Array): readonly number[] {
  const checker = new Checker(footer);
  const root = checker.root();
  const blocks = { 2: { bytesEach: 24 }, 3: { bytesEach: 24 } };
  checker.check(root, () => ({ 1: { table: schema }, ...blocks, 4: { tables: keyValue } }));
  return [2, 3].flatMap((index) => checker.firstNumbers(root, index, 24));
}

class Checker {
  readonly #view: DataView;
  #tables = 0;

  constructor(bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  root(): number {
    return this.#follow(0);
  }

  /** A field of fixed size, 0 if it is absent. */
  number(table: number, index: number, bytes: 1 | 8): number {
    const at = this.#field(table, index);
    if (at === undefined) return 0;
    return bytes === 1 ? this.#view.getUint8(at) : Number(this.#view.getBigInt64(at, true));
  }

  check(table: number, targets: Table): void {
    this.#tables++;
    if (this.#tables > maxTables) throw new RangeError("too many tables in the metadata");
    for (const [index, target] of Object.entries(targets())) {
      const at = this.#field(table, Number(index));
      if (at === undefined) continue;
      const start = this.#follow(at);
      if ("table" in target) {
        this.check(start, target.table);
        continue;
      }
      const count = this.#view.getUint32(start, true);
      const bytesEach = "tables" in target ? 4 : target.bytesEach;
      if (start + 4 + count * bytesEach > this.#view.byteLength) {
        throw new RangeError(`a vector of ${count} elements in ${this.#view.byteLength} bytes`);
      }
      if (!("tables" in target)) continue;
      for (let i = 0; i < count; i++) this.check(this.#follow(start + 4 + 4 * i), target.tables);
    }
  }

  /** The lengths that a batch states, of itself and of its columns. */
  checkBatch(message: number, headerType: number): void {
    if (headerType === 1) return;
    const header = this.#follow(this.#field(message, 2) ?? 0);
    const batch = headerType === 2 ? this.#follow(this.#field(header, 1) ?? 0) : header;
    const lengths = [this.number(batch, 0, 8)];
    lengths.push(...this.firstNumbers(batch, 1, 16));
    const bad = lengths.find((length) => !(length >= 0 && length <= maxLength));
    if (bad !== undefined) throw new RangeError(`a batch or column of ${bad} elements`);
  }

  /** The 64-bit number at the start of each struct in a vector that was checked. */
  firstNumbers(table: number, index: number, bytesEach: number): readonly number[] {
    const at = this.#field(table, index);
    if (at === undefined) return [];
    const start = this.#follow(at);
    return Array.from({ length: this.#view.getUint32(start, true) }, (_, i) =>
      Number(this.#view.getBigInt64(start + 4 + bytesEach * i, true)),
    );
  }

  /** Where a field of a table is, undefined if absent. */
  #field(table: number, index: number): number | undefined {
    const layout = table - this.#view.getInt32(table, true);
    const layoutBytes = this.#view.getUint16(layout, true);
    if (4 + 2 * index + 2 > layoutBytes) return undefined;
    const offset = this.#view.getUint16(layout + 4 + 2 * index, true);
    return offset === 0 ? undefined : table + offset;
  }

  #follow(at: number): number {
    const target = at + this.#view.getUint32(at, true);
    if (target === at || target + 4 > this.#view.byteLength) {
      throw new RangeError(`an offset to byte ${target} of ${this.#view.byteLength}`);
    }
    return target;
  }
}
