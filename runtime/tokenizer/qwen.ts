import { join } from "node:path";
import { Tiktoken } from "tiktoken/lite";
import { createLongTextEncoder, hasLongRun } from "./byte-pair.ts";
import { TokenizerError } from "./errors.ts";
import type { DecodeOptions, EncodeOptions, SpecialIds, Tokenizer } from "./tokenizer.ts";
import { decodeUtf8 } from "./utf8.ts";
import { readVocabulary, type Vocabulary } from "./vocabulary.ts";

// cl100k_base's pattern, but numbers are single digits: the reference's, in Rust's syntax.
const splitPattern =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

const extraCount = 205;
const specialForm = /<\|(?:endoftext|im_start|im_end|extra_\d{1,3})\|>/g;

/**
 * Opens the tokenizer of a Qwen v1 model folder (`qwen.tiktoken`). Control tokens follow the ranks, n of
 * them: n `<|endoftext|>`, n + 1 `<|im_start|>`, n + 2 `<|im_end|>`, n + 3 + i `<|extra_i|>`, i < 205. The
 * published models have n = 151643.
 *
 * @throws TokenizerError TOKENIZER_NOT_FOUND, TOKENIZER_LFS_POINTER, TOKENIZER_VOCABULARY
 */
export function openQwenTokenizer(dir: string): Tokenizer {
  return new QwenTokenizer(readVocabulary(join(dir, "qwen.tiktoken")));
}

class QwenTokenizer implements Tokenizer {
  readonly vocabularySize: number;
  readonly specials: SpecialIds;
  readonly #vocabulary: Vocabulary;
  readonly #idOfForm: ReadonlyMap<string, number>;
  readonly #formBytes: readonly Uint8Array[];
  #encoder: Tiktoken | undefined;
  #encodeLongText: ((text: string) => number[]) | undefined;

  constructor(vocabulary: Vocabulary) {
    const n = vocabulary.size;
    const forms = specialForms();
    this.#vocabulary = vocabulary;
    this.#idOfForm = new Map(forms.map((form, index) => [form, n + index]));
    this.#formBytes = forms.map((form) => new TextEncoder().encode(form));
    this.vocabularySize = n + forms.length;
    this.specials = { endOfText: n, imStart: n + 1, imEnd: n + 2 };
    // Control tokens are split off here, so that both encoders only ever see ordinary text.
    this.#encoder = new Tiktoken(`! 0 ${vocabulary.base64.join(" ")}`, {}, splitPattern);
  }

  encode(text: string, options: EncodeOptions = {}): Int32Array {
    if (typeof text !== "string") {
      throw new TokenizerError("TOKENIZER_TEXT", `encode: expected a string, got ${typeof text}`);
    }
    const isAllowed = this.#allowedForms(options.allowedSpecial ?? "all");
    const normal = text.normalize("NFC");
    const chunks: ArrayLike<number>[] = [];
    let start = 0;
    for (const match of isAllowed === undefined ? [] : normal.matchAll(specialForm)) {
      const id = this.#idOfForm.get(match[0]);
      if (id !== undefined && isAllowed?.(match[0])) {
        chunks.push(this.#encodeOrdinary(normal.slice(start, match.index)), [id]);
        start = match.index + match[0].length;
      }
    }
    chunks.push(this.#encodeOrdinary(normal.slice(start)));
    return concatenate(chunks);
  }

  decode(ids: ArrayLike<number>, options: DecodeOptions = {}): string {
    const { skipSpecial = false, errors = "replace" } = options;
    const parts: Uint8Array[] = [];
    for (let i = 0; i < ids.length; i += 1) {
      const bytes = this.#bytesAt(ids[i]);
      if (!(skipSpecial && this.isSpecial(ids[i] ?? -1))) {
        parts.push(bytes);
      }
    }
    try {
      return decodeUtf8(Buffer.concat(parts), errors);
    } catch (cause) {
      throw new TokenizerError(
        "TOKENIZER_TEXT",
        `decode: the bytes of these ${ids.length} tokens are not valid UTF-8`,
        { cause },
      );
    }
  }

  bytesOf(id: number): Uint8Array {
    return new Uint8Array(this.#bytesAt(id)); // a Buffer's slice would be a view
  }

  isSpecial(id: number): boolean {
    return Number.isInteger(id) && id >= this.#vocabulary.size && id < this.vocabularySize;
  }

  [Symbol.dispose](): void {
    this.#encoder?.free();
    this.#encoder = undefined;
    this.#encodeLongText = undefined;
  }

  #bytesAt(id: number | undefined): Uint8Array {
    if (id === undefined || !Number.isInteger(id) || id < 0 || id >= this.vocabularySize) {
      throw new TokenizerError(
        "TOKENIZER_UNKNOWN_ID",
        `token id ${id} has no token; expected an integer from 0 to ${this.vocabularySize - 1}`,
      );
    }
    return this.#formBytes[id - this.#vocabulary.size] ?? this.#vocabulary.bytesOf(id);
  }

  /** Undefined when no control token is allowed at all. */
  #allowedForms(
    allowed: "all" | "none" | ReadonlySet<string>,
  ): ((form: string) => boolean) | undefined {
    if (allowed === "none") {
      return undefined;
    }
    if (allowed === "all") {
      return () => true;
    }
    for (const form of allowed) {
      if (!this.#idOfForm.has(form)) {
        throw new TokenizerError(
          "TOKENIZER_OPTION",
          `allowedSpecial: ${JSON.stringify(form)} is not a control token of this vocabulary; expected <|endoftext|>, <|im_start|>, <|im_end|> or <|extra_0|> to <|extra_${extraCount - 1}|>`,
        );
      }
    }
    return (form) => allowed.has(form);
  }

  #encodeOrdinary(text: string): ArrayLike<number> {
    if (this.#encoder === undefined) {
      throw new TokenizerError("TOKENIZER_CLOSED", "encode: the tokenizer has been disposed");
    }
    if (text === "") {
      return [];
    }
    if (hasLongRun(text)) {
      this.#encodeLongText ??= createLongTextEncoder(this.#vocabulary);
      return this.#encodeLongText(text);
    }
    return this.#encoder.encode_ordinary(text);
  }
}

function specialForms(): string[] {
  const extras = Array.from({ length: extraCount }, (_, i) => `<|extra_${i}|>`);
  return ["<|endoftext|>", "<|im_start|>", "<|im_end|>", ...extras];
}

function concatenate(chunks: readonly ArrayLike<number>[]): Int32Array {
  const ids = new Int32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    ids.set(chunk, at);
    at += chunk.length;
  }
  return ids;
}
