import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect, it } from "vitest";
import {
  createLongTextEncoder,
  hasLongRun,
  longRun,
} from "../../../runtime/tokenizer/byte-pair.ts";
import { chatPrompt, openQwenTokenizer, type Tokenizer } from "../../../runtime/tokenizer/index.ts";
import { readVocabulary } from "../../../runtime/tokenizer/vocabulary.ts";
import { sharedPath } from "../../support/shared.ts";
import { lehmer, miniDir, randomText } from "./support.ts";

/** Texts and ids from Qwen's tokenization notes and from the reference tokenizer. */
const vectors: [text: string, ids: number[]][] = [
  ['print("<|endoftext|>")', [1350, 445, 151643, 899]],
  [" 根", [51461, 117]],
  ["Panda", [47, 9817]],
  [" Panda", [72410]],
  ["Pandas", [47, 55433]],
  [" Pandas", [33506, 300]],
  ["Observation", [37763, 367]],
  ["Observation:", [37763, 367, 25]],
  ["Observation:\n", [37763, 367, 510]],
  ["system", [8948]],
  ["user", [872]],
  ["assistant", [77091]],
  ["\n", [198]],
  ["You are a helpful assistant.", [2610, 525, 264, 10950, 17847, 13]],
  ["你好", [108386]],
  ["你好！很高兴为你提供帮助。", [108386, 6313, 112169, 106184, 99553, 100364, 1773]],
  [
    "我是一个语言模型，我叫通义千问。",
    [35946, 101909, 102064, 104949, 3837, 35946, 99882, 31935, 64559, 99320, 56007, 1773],
  ],
  ["Human:", [33975, 25]],
  ["A", [32]],
  ["B", [33]],
  ["C", [34]],
  ["D", [35]],
  [" A", [362]],
  [" B", [425]],
  [" C", [356]],
  [" D", [422]],
  ["\n答案：", [198, 102349, 5122]],
  ["\nAnswer:", [198, 16141, 25]],
  ["12345", [16, 17, 18, 19, 20]],
  ["3.14159", [18, 13, 16, 19, 16, 20, 24]],
  ["I've don't WE'LL", [40, 3003, 1513, 944, 19677, 6, 4086]],
  ["  two  spaces", [220, 1378, 220, 12621]],
  ["trailing   ", [376, 14277, 262]],
  ["\n\n", [271]],
  ["\n\n\n", [1406]],
  ["\r\n", [319]],
  ["\r\n\r\n", [871]],
  ["\t\tx", [197, 10225]],
  ["x = 10;\n\ty += 2", [87, 284, 220, 16, 15, 280, 14522, 1421, 220, 17]],
  [
    "The quick brown fox jumps over the lazy dog.",
    [785, 3974, 13876, 38835, 34208, 916, 279, 15678, 5562, 13],
  ],
  ["e\u0301", [963]],
  ["é", [963]],
  ["²½Ⅷ", [29456, 26062, 70467, 100]],
  ["👨‍👩‍👧", [145367, 378, 235, 145233, 378, 235, 145665]],
  ["สวัสดี", [143126, 23271, 125136, 28319]],
  ["안녕하세요", [126246, 144370, 91145]],
  ["日本語テスト", [101059, 102819, 140592]],
  ["\u3000全角", [22441, 35987, 63836]],
  ["a\u00a0b", [64, 4102, 65]],
  ["<|extra_204|>", [151850]],
  ["<|extra_205|>", [27, 91, 15460, 62, 17, 15, 20, 91, 29]],
];

const ids = (tokens: Int32Array): number[] => [...tokens];

function bytesOfAll(tokenizer: Tokenizer, tokens: Int32Array): Buffer {
  return Buffer.concat([...tokens].map((id) => tokenizer.bytesOf(id)));
}

describe("the bundled vocabulary", () => {
  const tokenizer = openQwenTokenizer(miniDir);

  it("places the control tokens right after the ranks", () => {
    expect(tokenizer.specials).toEqual({ endOfText: 3888, imStart: 3889, imEnd: 3890 });
    expect(tokenizer.vocabularySize).toBe(3888 + 208);
    expect(ids(tokenizer.encode("<|endoftext|><|im_start|><|im_end|><|extra_0|>"))).toEqual([
      3888, 3889, 3890, 3891,
    ]);
    expect(ids(tokenizer.encode("<|extra_204|>"))).toEqual([4095]);
    expect([3887, 3888, 4095, 4096, -1].map((id) => tokenizer.isSpecial(id))).toEqual([
      false,
      true,
      true,
      false,
      false,
    ]);
  });

  it("reads a spelled control token as text when specials are off", () => {
    const tokens = tokenizer.encode("a<|im_end|>b", { allowedSpecial: "none" });
    expect(ids(tokens).some((id) => tokenizer.isSpecial(id))).toBe(false);
    expect(tokenizer.decode(tokens)).toBe("a<|im_end|>b");
  });

  it("reads only the control tokens of a given set", () => {
    const tokens = tokenizer.encode("<|extra_0|><|endoftext|>", {
      allowedSpecial: new Set(["<|endoftext|>"]),
    });
    expect(ids(tokens).filter((id) => tokenizer.isSpecial(id))).toEqual([3888]);
    expect(ids(tokens).at(-1)).toBe(3888);
  });

  it("refuses a set that names a form outside the vocabulary", () => {
    expect(() => tokenizer.encode("x", { allowedSpecial: new Set(["<|extra_205|>"]) })).toThrow(
      expect.objectContaining({
        name: "TokenizerError",
        code: "TOKENIZER_OPTION",
        message: expect.stringContaining("<|extra_205|>"),
      }),
    );
  });

  it("keeps the bytes of any text, whatever its script", () => {
    const random = lehmer(1);
    for (let round = 0; round < 300; round += 1) {
      const text = randomText(random, 1 + random(20)).normalize("NFC");
      const tokens = tokenizer.encode(text);
      expect(bytesOfAll(tokenizer, tokens).equals(Buffer.from(text))).toBe(true);
      expect(tokenizer.decode(tokens)).toBe(text);
    }
  });

  it("keeps a leading byte-order mark and turns a lone surrogate into U+FFFD", () => {
    expect(tokenizer.decode(tokenizer.encode("\ufeffa"))).toBe("\ufeffa");
    expect(tokenizer.decode(tokenizer.encode("a\ud800b"))).toBe("a\ufffdb");
  });

  it("decodes half a character as the caller asks", () => {
    const half = ids(tokenizer.encode("€", { allowedSpecial: "none" })).slice(0, 1);
    expect(tokenizer.bytesOf(half[0]!).length).toBeLessThan(3);
    const mixed = [...half, ...tokenizer.encode("x\ufffd")];
    expect(tokenizer.decode(mixed)).toBe("\ufffdx\ufffd");
    expect(tokenizer.decode(mixed, { errors: "ignore" })).toBe("x\ufffd");
    expect(() => tokenizer.decode(mixed, { errors: "strict" })).toThrow(
      expect.objectContaining({ name: "TokenizerError", code: "TOKENIZER_TEXT" }),
    );
  });

  it("drops control tokens from decoded text only when asked", () => {
    const tokens = tokenizer.encode("a<|im_end|>b");
    expect(tokenizer.decode(tokens)).toBe("a<|im_end|>b");
    expect(tokenizer.decode(tokens, { skipSpecial: true })).toBe("ab");
  });

  it.each([4096, -1, 1.5, Number.NaN])("refuses to decode id %d", (id) => {
    const unknown = expect.objectContaining({
      name: "TokenizerError",
      code: "TOKENIZER_UNKNOWN_ID",
    });
    expect(() => tokenizer.decode([id])).toThrow(unknown);
    expect(() => tokenizer.bytesOf(id)).toThrow(unknown);
  });

  it("refuses text that is not a string", () => {
    expect(() => tokenizer.encode(7 as unknown as string)).toThrow(
      expect.objectContaining({ code: "TOKENIZER_TEXT" }),
    );
  });

  it("hands out copies of token bytes, so that a caller cannot damage the vocabulary", () => {
    tokenizer.bytesOf(65).fill(0);
    expect(tokenizer.bytesOf(65)).toEqual(Uint8Array.of(65));
  });

  it("refuses to encode once disposed, and disposing twice is harmless", () => {
    const other = openQwenTokenizer(miniDir);
    other[Symbol.dispose]();
    other[Symbol.dispose]();
    expect(() => other.encode("a")).toThrow(expect.objectContaining({ code: "TOKENIZER_CLOSED" }));
  });
});

describe("text with very long runs", () => {
  const tokenizer = openQwenTokenizer(miniDir);
  const encodeLong = createLongTextEncoder(readVocabulary(`${miniDir}/qwen.tiktoken`));

  it("gets the same ids from both encoders", () => {
    const random = lehmer(2);
    for (let round = 0; round < 300; round += 1) {
      const text = randomText(random, 1 + random(20)).normalize("NFC");
      expect(encodeLong(text)).toEqual(ids(tokenizer.encode(text, { allowedSpecial: "none" })));
    }
  });

  it.each(["a", "the", " ", "\n", "\t ", "!", "我", "𝐀", "👍", "=-"])(
    "gets the same ids from both encoders for a run of %j just below the bound",
    (unit) => {
      const text = `x ${unit.repeat(Math.floor((longRun - 8) / unit.length))} y`;
      expect(hasLongRun(text)).toBe(false);
      expect(encodeLong(text)).toEqual(ids(tokenizer.encode(text)));
    },
  );

  it.each(["a", " ", "1", "!", "我", "𝐀", "👍"])(
    "never misses a run of %j twice the bound, wherever it starts",
    (unit) => {
      for (let shift = 0; shift < 40; shift += 1) {
        const before = "ab, 1".repeat(shift * 13);
        const run = unit.repeat(Math.ceil((2 * longRun + 2) / unit.length));
        expect(hasLongRun(`${before}.${run}z`)).toBe(true);
      }
    },
  );

  it.each(["a", " ", "\n", "!", "我", "7"])(
    "encodes 400,000 of %j losslessly and in time that a quadratic merge would need minutes for",
    (unit) => {
      const text = `start ${unit.repeat(400_000)} end<|im_end|>`;
      const started = performance.now();
      const tokens = tokenizer.encode(text);
      expect(performance.now() - started).toBeLessThan(20_000);
      expect(tokenizer.decode(tokens)).toBe(text);
      expect(tokens.at(-1)).toBe(tokenizer.specials.imEnd);
    },
  );
});

const realVocabulary = sharedPath("tokenizer", "qwen.tiktoken");

describe.skipIf(realVocabulary === undefined)("the real Qwen vocabulary", () => {
  let opened: Tokenizer | undefined;
  const tokenizer = (): Tokenizer => {
    opened ??= openQwenTokenizer(dirname(realVocabulary!));
    return opened;
  };

  it("has the published sizes and control tokens", () => {
    expect(tokenizer().vocabularySize).toBe(151851);
    expect(tokenizer().specials).toEqual({ endOfText: 151643, imStart: 151644, imEnd: 151645 });
  });

  it.each(vectors)("encodes %j as published", (text, expected) => {
    expect(ids(tokenizer().encode(text))).toEqual(expected);
    expect(tokenizer().decode(expected)).toBe(text.normalize("NFC"));
  });

  it("encodes the goldens, and decodes them to the normalised text", () => {
    const path = sharedPath("tokenizer", "qwen-goldens.json")!;
    const goldens = JSON.parse(readFileSync(path, "utf8")) as { text: string; ids: number[] }[];
    expect(goldens.length).toBeGreaterThan(30);
    for (const golden of goldens) {
      expect(ids(tokenizer().encode(golden.text)), golden.text).toEqual(golden.ids);
      expect(tokenizer().decode(golden.ids)).toBe(golden.text.normalize("NFC"));
    }
  });

  it("encodes with no or some control tokens allowed as published", () => {
    expect(ids(tokenizer().encode('print("<|endoftext|>")', { allowedSpecial: "none" }))).toEqual([
      1350, 9639, 91, 8691, 723, 427, 91, 82598,
    ]);
    expect(
      ids(
        tokenizer().encode('print("<|extra_0|>")<|endoftext|>', {
          allowedSpecial: new Set(["<|endoftext|>"]),
        }),
      ),
    ).toEqual([1350, 9639, 91, 15460, 62, 15, 91, 82598, 151643]);
  });

  it("gives one token per 我, also in a run beyond the bound of the fast path", () => {
    for (const count of [1, 3, 2048]) {
      expect(ids(tokenizer().encode("我".repeat(count)))).toEqual(Array(count).fill(35946));
    }
  });

  it("decodes half a character as U+FFFD", () => {
    expect(tokenizer().decode([51461])).toBe(" \ufffd");
  });

  it("gets the same ids from both encoders on mixed scripts", () => {
    const encodeLong = createLongTextEncoder(readVocabulary(realVocabulary!));
    const random = lehmer(3);
    for (let round = 0; round < 200; round += 1) {
      const text = randomText(random, 1 + random(30)).normalize("NFC");
      expect(encodeLong(text)).toEqual(ids(tokenizer().encode(text, { allowedSpecial: "none" })));
    }
  });

  it("builds the first turn of a chat as the reference does", () => {
    const prompt = { system: "You are a helpful assistant.", history: [], query: "你好" };
    expect(ids(chatPrompt(tokenizer(), { ...prompt, maxWindow: 6144 }))).toEqual([
      151644, 8948, 198, 2610, 525, 264, 10950, 17847, 13, 151645, 198, 151644, 872, 198, 108386,
      151645, 198, 151644, 77091, 198,
    ]);
  });
});
