/**
 * Decodes UTF-8 in the three ways of the reference tokenizer: invalid bytes become U+FFFD (one per
 * maximal invalid part, as in WHATWG), vanish, or throw a TypeError. A leading U+FEFF is text, not a mark.
 */
export function decodeUtf8(bytes: Uint8Array, errors: "replace" | "ignore" | "strict"): string {
  if (errors === "ignore") {
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(dropInvalid(bytes));
  }
  return new TextDecoder("utf-8", { ignoreBOM: true, fatal: errors === "strict" }).decode(bytes);
}

function dropInvalid(bytes: Uint8Array): Uint8Array {
  const kept = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at < bytes.length; ) {
    const size = sequenceLength(bytes, at);
    kept.set(bytes.subarray(at, at + size), length);
    length += size;
    at += Math.max(size, 1);
  }
  return kept.subarray(0, length);
}

/** Length of the valid UTF-8 sequence at `at`, 0 if there is none (Unicode 15, table 3-7). */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const lead = bytes[at] ?? 0;
  if (lead < 0x80) {
    return 1;
  }
  const size = sizeFromLead(lead);
  const [low, high] = secondByteRange(lead);
  const second = bytes[at + 1] ?? 0;
  if (size === 0 || second < low || second > high) {
    return 0;
  }
  for (let i = 2; i < size; i += 1) {
    if (((bytes[at + i] ?? 0) & 0xc0) !== 0x80) {
      return 0;
    }
  }
  return size;
}

function sizeFromLead(lead: number): number {
  if (lead < 0xc2 || lead > 0xf4) {
    return 0;
  }
  if (lead < 0xe0) {
    return 2;
  }
  return lead < 0xf0 ? 3 : 4;
}

/** Rules out over-long forms (E0, F0), surrogates (ED) and code points above U+10FFFF (F4). */
function secondByteRange(lead: number): readonly [low: number, high: number] {
  switch (lead) {
    case 0xe0:
      return [0xa0, 0xbf];
    case 0xed:
      return [0x80, 0x9f];
    case 0xf0:
      return [0x90, 0xbf];
    case 0xf4:
      return [0x80, 0x8f];
    default:
      return [0x80, 0xbf];
  }
}
