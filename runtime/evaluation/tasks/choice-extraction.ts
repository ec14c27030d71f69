// Which choice a chat model's answer means: what it says by letter, else the choice whose text it resembles most. As in Qwen's
// evaluate_chat_mmlu.py and evaluate_chat_ceval.py, for figures that can be compared with published ones.
import { type ChoiceLetter, type ChoiceQuestion, choiceLetters } from "./multiple-choice.ts";
import { pythonPattern } from "./python-pattern.ts";
import { resemblance } from "./resemblance.ts";

const alone = `(?<![a-zA-Z])(A|B|C|D)(?![a-zA-Z=])`;

/** "answer is A", "choose A"; "A is correct"; "A." at the start; a letter on its own. */
const english: readonly RegExp[] = [
  String.raw`(?:(?:[Cc]hoose)|(?:(?:[Aa]nswer|[Cc]hoice)(?![^ABCD]{0,20}?(?:n't|not))[^ABCD]{0,10}?\b(?:|is|:|be))\b)[^ABCD]{0,20}?\b(A|B|C|D)\b`,
  String.raw`\b(A|B|C|D)\b(?![^ABCD]{0,8}?(?:n't|not)[^ABCD]{0,5}?(?:correct|right))[^ABCD]{0,10}?\b(?:correct|right)\b`,
  String.raw`^(A|B|C|D)(?:\.|,|:|$)`,
  alone,
].map((source) => pythonPattern(source));

/** The same in Chinese. */
const chinese: readonly RegExp[] = [
  String.raw`(?:(?:选|选择|选定)[：:]?\s*|(?:(?:答案|选项)(?![^ABCD]{0,10}?(?:不|非)[^ABCD]{0,10}?(?:是|选|为|：|:|】))[^ABCD]{0,10}?(?:是|选|为|：|:|】))[^ABCD]{0,10}?)(A|B|C|D)(?:选项)?(?:\)|。|\.|，|,|．|、|A|B|C|D|$|：|:|\)|）)`,
  `(A|B|C|D)(?:选?项)?(?![^ABCD]{0,4}?(?:不|非)[^ABCD]{0,4}?(?:正确|对[的，。：]|符合))[^ABCD]{0,4}?(?:正确|对[的，。：]|符合)`,
  String.raw`^[\(（]?(A|B|C|D)(?:。|\)|）|\.|，|,|．|：|:|$)`,
  alone,
].map((source) => pythonPattern(source));

/** MMLU's. */
export function extractEnglishChoice(answer: string, question: ChoiceQuestion): ChoiceLetter {
  let text = answer;
  for (const [letter, choice] of longestFirst(question, /\.+$/)) {
    text = text.replace(new RegExp(literal(choice), "giu"), letter);
  }
  return firstLetter(text, english) ?? mostAlike(text, question);
}

/** C-Eval's, which first takes out what the answer repeats of the question. */
export function extractChineseChoice(answer: string, question: ChoiceQuestion): ChoiceLetter {
  const sentence = question.question.replace(/。+$/, "").split("。").at(-1) ?? "";
  const parts = sentence.split("_");
  const [before = ""] = parts;
  const after = parts.at(-1) ?? "";
  let text = answer;
  if (isLong(before)) text = text.replaceAll(before, "答案是");
  if (isLong(after)) text = text.replaceAll(after, "");
  for (const [letter, choice] of longestFirst(question, /。+$/)) {
    text = text.replaceAll(choice, letter);
  }
  return firstLetter(text, chinese) ?? mostAlike(text, question);
}

/** A pattern of exactly this text. */
function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}

function isLong(part: string): boolean {
  return [...part.trim()].length > 4;
}

/** Choices without their full stop; an empty one would be found everywhere. */
function longestFirst(
  { choices }: ChoiceQuestion,
  fullStop: RegExp,
): readonly (readonly [ChoiceLetter, string])[] {
  return choiceLetters
    .map((letter) => [letter, choices[letter]] as const)
    .toSorted(([, a], [, b]) => [...b].length - [...a].length)
    .map(([letter, choice]) => [letter, choice.replace(fullStop, "")] as const)
    .filter(([, choice]) => choice !== "");
}

function firstLetter(text: string, patterns: readonly RegExp[]): ChoiceLetter | undefined {
  for (const pattern of patterns) {
    const match = pattern.exec(text);
    if (match !== null) return match[1] as ChoiceLetter;
  }
  return undefined;
}

/** The first of equals. */
function mostAlike(answer: string, { choices }: ChoiceQuestion): ChoiceLetter {
  const scored = choiceLetters.map((letter) => ({
    letter,
    score: resemblance(answer, choices[letter]),
  }));
  return scored.reduce((best, other) => (other.score > best.score ? other : best)).letter;
}
