import { commonLength } from "./common-subsequence.ts";

/**
 * Rouge-L: how much of two texts is a common subsequence of words, as the harmonic mean of its share of either; 0 for an empty one.
 *
 * @see Lin, ROUGE: a package for automatic evaluation of summaries (2004), section 3
 */
export function rougeL(text: string, reference: string): number {
  const [words, expected] = [wordsOf(text), wordsOf(reference)];
  const common = commonLength(words, expected);
  if (common === 0) return 0;
  const precision = common / words.length;
  const recall = common / expected.length;
  return (2 * precision * recall) / (precision + recall);
}

function wordsOf(text: string): readonly string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}
