// The one place where documents become token ids.

import type { EncodeOptions, Tokenizer } from "../runtime/index.ts";
import { conversationIds } from "./conversation.ts";
import type { CalibrationDocument } from "./dataset.ts";
import { CalibrationError } from "./errors.ts";

/**
 * Which tokens a Hessian is made of; all of them run through the model. "assistant" are those of Qwen's training loss:
 * replies, and the control tokens around every message. Texts have no roles: there all tokens count.
 */
export type TokenScope = "all" | "assistant";

export const tokenScopes: readonly TokenScope[] = ["all", "assistant"];

export type Tokenized = {
  readonly kind: CalibrationDocument["kind"];
  /** [tokens] i32 */
  readonly ids: Int32Array;
  /** [tokens] u8, 1 where a token counts */
  readonly mask: Uint8Array;
  /** Index of the document. */
  readonly document: number;
};

/**
 * @param how  which control tokens spelled in a text or message are read as such; all is the reference's default
 * @throws CalibrationError CALIBRATION_ROW if a ready-made id is none of the tokenizer's
 */
export function tokenize(
  content: CalibrationDocument,
  document: number,
  how: {
    readonly tokenizer: Tokenizer;
    readonly scope: TokenScope;
    readonly allowedSpecial: NonNullable<EncodeOptions["allowedSpecial"]>;
  },
): Tokenized {
  const { kind } = content;
  const { tokenizer, scope, allowedSpecial } = how;
  if (kind === "conversation") {
    const { ids, lossMask } = conversationIds(tokenizer, content, allowedSpecial);
    return { kind, ids, mask: scope === "assistant" ? lossMask : allOf(ids), document };
  }
  const ids = kind === "text" ? tokenizer.encode(content.text, { allowedSpecial }) : content.ids;
  const unknown = ids.find((id) => id >= tokenizer.vocabularySize);
  if (unknown !== undefined) {
    throw new CalibrationError(
      "CALIBRATION_ROW",
      `document ${document}: token id ${unknown} is none of the model's ${tokenizer.vocabularySize}; ` +
        "input_ids must come from the tokenizer of this model",
    );
  }
  return { kind, ids, mask: allOf(ids), document };
}

function allOf(ids: Int32Array): Uint8Array {
  return new Uint8Array(ids.length).fill(1);
}
