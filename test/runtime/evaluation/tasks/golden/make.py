"""Makes resemblance.json, texts and how alike RapidFuzz finds them, and patterns.json, what Python's `re` matches.

pip install rapidfuzz==3.14.6; python make.py && npx biome check --write .
"""

import json
import pathlib
import random
import re

from rapidfuzz import fuzz, utils

fixed = [
    ("", "a"), ("a", ""), ("---", "..."), ("same", "same"), ("Same!", "same"),
    ("the cat sat on the mat", "mat the on sat cat the"),
    ("I would say the mitochondria, since they make ATP.", "Mitochondria"),
    ("It depends on many things, such as the weather", "The weather of the day"),
    ("北京是中国的首都，人口众多。", "中国的首都"),
    ("我认为应当选择第三种方案", "第三种方案"),
    ("naïve café", "NAIVE CAFE"), ("x² + y²", "x2 + y2"), ("snake_case name", "snake case name"),
    ("a b c d", "a b"), ("aaa", "aaaaaaaaaaaaaaaaaaaaaaaa"), ("abc", "xyz"),
    ("True, False", "False, True"), ("0.5", "5"), ("ab cd", "cd ab ef gh ij kl mn op"),
]
random.seed(7)
words = "alpha beta gamma delta the of and energy cell force 能量 细胞 A1 don't x=3 (both)".split()
for _ in range(200):
    one = random.choices(words, k=random.randint(1, 14))
    other = random.sample(one, random.randint(0, len(one))) + random.choices(words, k=random.randint(0, 4))
    first, second = (random.choice([" ", ", ", ""]).join(part) for part in (one, other))
    fixed.append((first, second))

rows = [
    {"first": a, "second": b, "score": fuzz.WRatio(a, b, processor=utils.default_process) / 100}
    for a, b in fixed
]
path = pathlib.Path(__file__).with_name("resemblance.json")
path.write_text(json.dumps(rows, ensure_ascii=False, indent=1) + "\n")

LETTERS = r"(?<![a-zA-Z])(A|B|C|D)(?![a-zA-Z=])"
PATTERNS = [
    r"(?:(?:[Cc]hoose)|(?:(?:[Aa]nswer|[Cc]hoice)(?![^ABCD]{0,20}?(?:n't|not))[^ABCD]{0,10}?\b(?:|is|:|be))\b)[^ABCD]{0,20}?\b(A|B|C|D)\b",
    r"\b(A|B|C|D)\b(?![^ABCD]{0,8}?(?:n't|not)[^ABCD]{0,5}?(?:correct|right))[^ABCD]{0,10}?\b(?:correct|right)\b",
    r"^(A|B|C|D)(?:\.|,|:|$)",
    LETTERS,
    r"(?:(?:选|选择|选定)[：:]?\s*|(?:(?:答案|选项)(?![^ABCD]{0,10}?(?:不|非)[^ABCD]{0,10}?(?:是|选|为|：|:|】))[^ABCD]{0,10}?(?:是|选|为|：|:|】))[^ABCD]{0,10}?)(A|B|C|D)(?:选项)?(?:\)|。|\.|，|,|．|、|A|B|C|D|$|：|:|\)|）)",
    r"(A|B|C|D)(?:选?项)?(?![^ABCD]{0,4}?(?:不|非)[^ABCD]{0,4}?(?:正确|对[的，。：]|符合))[^ABCD]{0,4}?(?:正确|对[的，。：]|符合)",
    r"^[\(（]?(A|B|C|D)(?:。|\)|）|\.|，|,|．|：|:|$)",
    r"\d+",
    r"([+-])?(?=([0-9]|\.[0-9]))(0|([1-9](\d{0,2}(,\d{3})*)|\d*))?(\.\d*)?(?=\D|$)",
    r"def\s+(f.*?):\s*\n",
]
ENGLISH = "A B C D A. B, (C) D: é É= answer choice choose is be not n't correct right the of".split() + ["\n", "\u2028"]
CHINESE = "A B C D （A） B。 答案 选 选择 选项 选定 是 为 不 非 正确 符合 对的 ： 】 。 ， ）".split() + ["\n"]
NUMBERS = "3 07 1,234 1,2345 -5 +6.25 .5 0.0 ２ x , . _".split() + ["\n"]
CODE = ["def f", "def  f(x)", "g(y)", ":", ": ", "\n", "\u2028"]
PARTS = [ENGLISH] * 4 + [CHINESE] * 3 + [NUMBERS] * 2 + [CODE]
rows = []
for source, parts in zip(PATTERNS, PARTS, strict=True):
    texts = []
    for _ in range(150):
        text = random.choice(["", " "]).join(random.choices(parts, k=random.randint(1, 7)))
        texts.append([text, [match.group() for match in re.finditer(source, text)]])
    rows.append({"source": source, "texts": texts})
path = pathlib.Path(__file__).with_name("patterns.json")
path.write_text(json.dumps(rows, ensure_ascii=False) + "\n")
