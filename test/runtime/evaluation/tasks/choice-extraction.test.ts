import { describe, expect, test } from "vitest";
import {
  extractChineseChoice,
  extractEnglishChoice,
} from "../../../../runtime/evaluation/tasks/choice-extraction.ts";
import type { ChoiceQuestion } from "../../../../runtime/evaluation/tasks/multiple-choice.ts";

const capital: ChoiceQuestion = {
  question: "What is the capital of France?",
  choices: { A: "Berlin", B: "Madrid", C: "Paris.", D: "Rome, the eternal city" },
  answer: "C",
};

describe("what an answer to MMLU means", () => {
  test.each([
    // "answer …", "choice …", "choose …"
    ["The correct answer is C.", "C"],
    ["I would choose option B here", "B"],
    ["So the best choice: D", "D"],
    ["The answer isn't A. Of the rest, B is correct.", "B"],
    ["My answer would be (A), and not (B)", "A"],
    // "… is correct"
    ["Option B is the correct one", "B"],
    ["Only D is right", "D"],
    ["A is not correct, but B is correct", "B"],
    // a letter at the start
    ["C", "C"],
    ["B. Because of that.", "B"],
    ["D\n", "D"],
    ["A, as everybody knows", "A"],
    // a letter on its own
    ["Perhaps (B) then", "B"],
    ["it follows from A= 3 that C holds", "C"],
    // the text of a choice, in any case, its full stop aside
    ["It is PARIS of course", "C"],
    ["madrid", "B"],
    // what is most alike
    ["the etrnal city rome", "D"],
    ["", "A"],
  ])("%j is %s", (answer, expected) => {
    expect(extractEnglishChoice(answer, capital)).toBe(expected);
  });

  test("a letter within a word of another script is none, as Python sees words", () => {
    // To an ASCII \b, é would end a word.
    expect(extractEnglishChoice("the answer is Bé, so C is correct", capital)).toBe("C");
  });

  test("longer texts are replaced first, and empty or equal ones do no harm", () => {
    const nested = { ...capital, choices: { A: "Par", B: "Paris", C: "", D: "Par" } };
    expect(extractEnglishChoice("Paris", nested)).toBe("B");
    expect(extractEnglishChoice("par", nested)).toBe("A");
    const dots = { ...capital, choices: { A: ".", B: "a+b?", C: "(x", D: "$1" } };
    expect(extractEnglishChoice("clearly a+b?", dots)).toBe("B");
    expect(extractEnglishChoice("(x", dots)).toBe("C");
    expect(extractEnglishChoice("$1", dots)).toBe("D");
  });
});

const layer: ChoiceQuestion = {
  question: "网络有多层。关于传输层的面向连接服务的特性是____。",
  choices: { A: "不保证可靠。", B: "顺序且可靠的交付", C: "不保证顺序", D: "可靠" },
  answer: "B",
};

describe("what an answer to C-Eval means", () => {
  test.each([
    // 选 …, 答案 …
    ["我选择：C。", "C"],
    ["正确答案是B。", "B"],
    ["答案为 D，因为……", "D"],
    ["答案不是A，而应选C。", "C"],
    ["答案不是A：而是C。", "A"],
    ["选B选项)", "B"],
    // … 正确
    ["C项正确", "C"],
    ["A不正确，D符合题意", "D"],
    // a letter at the start
    ["（D）其余都错", "D"],
    ["A", "A"],
    ["B：可以", "B"],
    // a letter on its own
    ["应该就是 C 吧", "C"],
    // the text of a choice, after what repeats the question
    ["关于传输层的面向连接服务的特性是顺序且可靠的交付。", "B"],
    ["不保证可靠", "A"],
    // what is most alike
    ["保证顺序的", "C"],
    ["", "A"],
  ])("%j is %s", (answer, expected) => {
    expect(extractChineseChoice(answer, layer)).toBe(expected);
  });

  test("what follows the gap is taken out", () => {
    const after = { ...layer, question: "____是D类地址的范围之内的网络" };
    expect(extractChineseChoice("选项可靠是D类地址的范围之内的网络", after)).toBe("D");
    const letter = { ...after, choices: { ...layer.choices, C: "组播" } };
    expect(extractChineseChoice("组播是D类地址的范围之内的网络", letter)).toBe("C");
  });
});
