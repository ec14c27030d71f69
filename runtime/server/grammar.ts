// JSON of a schema's shape, by narrowing which tokens may come next (Dong et al., "XGrammar", arXiv:2411.15100).
import type { GrammarCompiler, GrammarMatcher } from "@mlc-ai/web-xgrammar";
import type { TokenConstraint } from "../generation/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { ApiError } from "./errors.ts";
import type { ResponseFormat } from "./schemas.ts";

type Xgrammar = typeof import("@mlc-ai/web-xgrammar");
type Loaded = { readonly xgrammar: Xgrammar; readonly compiler: GrammarCompiler };

/** Compiled schemas are kept by the library; a schema larger than this would take it too long. */
const maxSchemaLength = 64 * 1024;

/** Makes constraints for one tokenizer. The library is loaded with the first of them. */
export class GrammarSource {
  readonly #tokenizer: Tokenizer;
  #loaded: Promise<Loaded> | undefined;

  constructor(tokenizer: Tokenizer) {
    this.#tokenizer = tokenizer;
  }

  /**
   * @returns undefined for plain text
   * @throws ApiError 400 for a schema that cannot be followed
   */
  async constraint(
    format: ResponseFormat | null | undefined,
  ): Promise<TokenConstraint | undefined> {
    if (format === undefined || format === null || format.type === "text") return undefined;
    const schema = format.type === "json_schema" ? JSON.stringify(format.json_schema.schema) : "";
    if (schema.length > maxSchemaLength) {
      throw invalidSchema(`its JSON has ${schema.length} characters; at most ${maxSchemaLength}`);
    }
    this.#loaded ??= load(this.#tokenizer);
    const { xgrammar, compiler } = await this.#loaded;
    try {
      const compiled =
        format.type === "json_object"
          ? await compiler.compileBuiltinJSONGrammar()
          : // White space as a person would write it: any amount would let a model write nothing else.
            await compiler.compileJSONSchema(schema, false, -1);
      const { endOfText, imEnd } = this.#tokenizer.specials;
      const matcher = await xgrammar.GrammarMatcher.createGrammarMatcher(compiled, [
        imEnd,
        endOfText,
      ]);
      return new MatcherConstraint(matcher);
    } catch (cause) {
      throw invalidSchema(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }
}

class MatcherConstraint implements TokenConstraint {
  readonly #matcher: GrammarMatcher;
  #isDisposed = false;

  constructor(matcher: GrammarMatcher) {
    this.#matcher = matcher;
  }

  mask(): Promise<Int32Array> {
    return this.#matcher.getNextTokenBitmask();
  }

  accept(id: number): void {
    this.#matcher.acceptToken(id);
  }

  [Symbol.dispose](): void {
    if (this.#isDisposed) return;
    this.#isDisposed = true;
    this.#matcher.dispose();
  }
}

async function load(tokenizer: Tokenizer): Promise<Loaded> {
  const xgrammar = await import("@mlc-ai/web-xgrammar");
  const { endOfText, imEnd } = tokenizer.specials;
  const vocabulary = Array.from({ length: tokenizer.vocabularySize }, (_, id) =>
    byteLevel(tokenizer.bytesOf(id)),
  );
  const info = await xgrammar.TokenizerInfo.createTokenizerInfo(
    vocabulary,
    "byte_level",
    false,
    vocabulary.length,
    [imEnd, endOfText],
  );
  return { xgrammar, compiler: await xgrammar.GrammarCompiler.createGrammarCompiler(info) };
}

const byteCharacters: readonly string[] = byteLevelTable();

/** Bytes as GPT-2's vocabulary files write them: one printable character each. */
function byteLevel(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byteCharacters[byte]).join("");
}

/** @see openai/gpt-2 `bytes_to_unicode` */
function byteLevelTable(): readonly string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const isPrintable = (byte >= 33 && byte <= 126) || (byte >= 161 && byte !== 173);
    return String.fromCharCode(isPrintable ? byte : next++);
  });
}

function invalidSchema(reason: string, cause?: unknown): ApiError {
  return new ApiError(400, `response_format: this JSON schema cannot be followed: ${reason}`, {
    ...{ param: "response_format", code: "invalid_schema", cause },
  });
}
