// Run lengths inside a Parquet page: the library writes as many values as a run states, however many the page has.
//
// https://parquet.apache.org/docs/file-format/data-pages/encodings/ ("Run Length Encoding / Bit-Packing Hybrid")

import type { Compressors, PageHeader, SchemaTree } from "hyparquet";
import { decompressPage } from "hyparquet/src/datapage.js";
import { getMaxDefinitionLevel, getMaxRepetitionLevel } from "hyparquet/src/schema.js";

export type PageColumn = {
  readonly codec: Parameters<typeof decompressPage>[2];
  readonly compressors: Compressors;
  readonly schemaPath: SchemaTree[];
};

/** Bit-packed runs come in eights, and writers fill up some more. */
const padding = 512;

/**
 * @param stored  the page as it is in the file
 * @throws RangeError on a run beyond the values of the page, or bytes beyond the page
 */
export function checkRuns(header: PageHeader, stored: Uint8Array, column: PageColumn): void {
  const widths = [
    getMaxRepetitionLevel(column.schemaPath),
    getMaxDefinitionLevel(column.schemaPath),
  ].map((most) => 32 - Math.clz32(most));
  const { codec, compressors } = column;
  const decompress: Decompress = (bytes, size) => decompressPage(bytes, size, codec, compressors);
  if (header.data_page_header !== undefined)
    checkPage(header, decompress(stored, header.uncompressed_page_size), widths);
  else checkPageV2(header, stored, { widths, decompress });
}

type Decompress = (bytes: Uint8Array, size: number) => Uint8Array;

function checkPage(
  { data_page_header: page }: PageHeader,
  bytes: Uint8Array,
  widths: readonly number[],
): void {
  if (page === undefined) return;
  const runs = new Runs(bytes, page.num_values);
  for (const width of widths) if (width > 0) runs.checkPrefixed(width);
  if (isDictionary(page.encoding)) runs.checkIndices();
}

/** Levels are stored as they are, and their lengths in the header. */
function checkPageV2(
  { data_page_header_v2: page, uncompressed_page_size: size }: PageHeader,
  stored: Uint8Array,
  { widths, decompress }: { readonly widths: readonly number[]; readonly decompress: Decompress },
): void {
  if (page === undefined) return;
  const lengths = [page.repetition_levels_byte_length, page.definition_levels_byte_length] as const;
  const runs = new Runs(stored, page.num_values);
  for (const [i, width] of widths.entries()) runs.checkLevels(width, lengths[i] ?? 0);
  if (!isDictionary(page.encoding)) return;
  const levels = lengths[0] + lengths[1];
  const values = stored.subarray(levels);
  const bytes = page.is_compressed === false ? values : decompress(values, size - levels);
  new Runs(bytes, page.num_values).checkIndices();
}

function isDictionary(encoding: string): boolean {
  return encoding === "PLAIN_DICTIONARY" || encoding === "RLE_DICTIONARY";
}

/** Runs in a page of so many values, from its beginning on. */
class Runs {
  readonly #view: DataView;
  readonly #values: number;
  #offset = 0;

  constructor(page: Uint8Array, values: number) {
    this.#view = new DataView(page.buffer, page.byteOffset, page.byteLength);
    this.#values = values;
  }

  /** Levels after their length. */
  checkPrefixed(width: number): void {
    const length = this.#view.getUint32(this.#offset, true);
    this.#offset += 4;
    this.checkLevels(width, length);
  }

  /** Indices after their width, to the end of the page; as many as there are values that are not null. */
  checkIndices(): void {
    if (this.#view.byteLength === this.#offset) return;
    const width = this.#view.getUint8(this.#offset);
    this.#offset++;
    for (let seen = 0; seen < this.#values && this.#offset < this.#view.byteLength; ) {
      seen += this.#run(width, seen);
    }
  }

  /** As many levels as there are values; the library reads on beyond their length until it has them. */
  checkLevels(width: number, length: number): void {
    const end = this.#offset + length;
    if (!(length >= 0 && end <= this.#view.byteLength)) {
      throw new RangeError(`runs of ${length} bytes in a page of ${this.#view.byteLength}`);
    }
    if (width > 0) for (let seen = 0; seen < this.#values; ) seen += this.#run(width, seen);
    this.#offset = end;
  }

  /** @returns the values of the run at the offset, after which that is then */
  #run(width: number, seen: number): number {
    const header = this.#number();
    const isPacked = (header & 1) === 1;
    const count = isPacked ? 8 * (header >>> 1) : header >>> 1;
    if (seen + count > this.#values + (isPacked ? padding : 0)) {
      throw new RangeError(`a run of ${count} values in a page of ${this.#values}`);
    }
    this.#offset += isPacked ? (count / 8) * width : Math.ceil(width / 8);
    return count;
  }

  /** Seven bits a byte, the lowest first. */
  #number(): number {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = this.#view.getUint8(this.#offset);
      this.#offset++;
      value |= (byte & 0x7f) << shift;
      if ((byte & 0x80) === 0) return value;
    }
  }
}
