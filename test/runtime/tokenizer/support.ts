import { join } from "node:path";

/** The bundled model's folder; its vocabulary has 3,888 ranks. */
export const miniDir: string = join(import.meta.dirname, "..", "..", "..", "examples", "qwen-mini");

/** Small deterministic numbers for property tests, apart from the code under test. */
export function lehmer(seed: number): (below: number) => number {
  let state = (seed % 2147483646) + 1;
  return (below) => {
    state = (state * 48271) % 2147483647;
    return state % below;
  };
}

const alphabets: readonly (readonly [from: number, to: number])[] = [
  [0x00, 0x7f],
  [0x20, 0x7e],
  [0x61, 0x7a],
  [0x09, 0x0d],
  [0xa0, 0x24f],
  [0x300, 0x36f],
  [0x400, 0x4ff],
  [0x600, 0x6ff],
  [0x900, 0x97f],
  [0x1100, 0x11ff],
  [0x2000, 0x206f],
  [0x3040, 0x30ff],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xfe00, 0xffef],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1faff],
  [0x20000, 0x2a6df],
];

const snippets = ["'s", "'LL", "'ſ", "  ", "\r\n", "\n\n", " 1,000", "<|im_end|>", "<|", "\u0085"];

/** Text of several scripts in runs, with the places where the pattern branches. */
export function randomText(random: (below: number) => number, runs: number): string {
  let text = "";
  for (let run = 0; run < runs; run += 1) {
    if (random(4) === 0) {
      text += snippets[random(snippets.length)];
      continue;
    }
    const [from, to] = alphabets[random(alphabets.length)]!;
    for (let length = 1 + random(8); length > 0; length -= 1) {
      text += String.fromCodePoint(from + random(to - from + 1));
    }
  }
  return text;
}
