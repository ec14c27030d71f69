// JSON of a schema's shape, by narrowing which tokens may come next (Dong et al., "XGrammar", arXiv:2411.15100).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { compileFunction } from "node:vm";
import type { GrammarCompiler, GrammarMatcher } from "@mlc-ai/web-xgrammar";
import type { TokenConstraint } from "../generation/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import { ApiError } from "./errors.ts";
import type { ResponseFormat } from "./schemas.ts";

type Xgrammar = typeof import("@mlc-ai/web-xgrammar");
type Loaded = { readonly xgrammar: Xgrammar; readonly compiler: GrammarCompiler };

/** Compiled schemas are kept by the library; a schema larger than this would take it too long. */
const maxSchemaLength = 16 * 1024;
const maxKnownSchemas = 1000;

/** White space as in JSON on one line: any amount would let a model write nothing else. */
const schemaStyle = [false, -1] as const;

/** Makes constraints for one tokenizer. The library is loaded with the first of them. */
export class GrammarSource {
  readonly #tokenizer: Tokenizer;
  readonly #probe = new SchemaProbe();
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
      if (schema !== "") await this.#probe.try(schema);
      const compiled =
        format.type === "json_object"
          ? await compiler.compileBuiltinJSONGrammar()
          : await compiler.compileJSONSchema(schema, ...schemaStyle);
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
  const xgrammar = loadLibrary();
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

/** A new instance of the library. */
function loadLibrary(): Xgrammar {
  const require = createRequire(import.meta.url);
  const file = require.resolve("@mlc-ai/web-xgrammar");
  // Version 0.1.27 is CommonJS, but its package.json calls it a module, so Node's own loaders find nothing in it.
  const source = readFileSync(file, "utf8").replace("await import('module')", "require('module')");
  const parameters = ["exports", "require", "module", "__filename"];
  const run = compileFunction(source, parameters, { filename: file });
  const module = { exports: {} };
  run(module.exports, require, module, file);
  return module.exports as Xgrammar;
}

/**
 * Tries schemas: one that the library does not support aborts it for good, and the matchers of other requests with it, so each is
 * tried first where it does no harm.
 */
class SchemaProbe {
  #library: Xgrammar | undefined;
  readonly #known = new Set<string>();

  async try(schema: string): Promise<void> {
    if (this.#known.has(schema)) return;
    this.#library ??= loadLibrary();
    try {
      (await this.#library.Grammar.fromJSONSchema(schema, ...schemaStyle)).dispose();
    } catch (error) {
      this.#library = undefined;
      throw error;
    }
    if (this.#known.size === maxKnownSchemas) this.#known.clear();
    this.#known.add(schema);
  }
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
