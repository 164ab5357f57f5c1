#!/usr/bin/env python3
"""Writes token ids by Hugging Face's tokenizers library, which the tests hold hadal's tokenizer to.

    python3 -m venv VENV && VENV/bin/pip install tokenizers==0.23.3
    VENV/bin/python tools/tokenizer_vectors.py FOLDER/tokenizer.json > tests/data/text/tokenizers/vectors-huggingface/NAME.txt

A line is a case: the text's UTF-8 bytes in hexadecimal, a tab, 1 if special tokens are read in the text and 0 if not, a tab,
the ids; the second kind only where it differs. The texts are fixed here (the random ones by a seed), so the same tokenizer.json gives the same file.
"""

import random
import sys

from tokenizers import Tokenizer

TEXTS = [
    "", " ", "  ", "\n", "\r\n", "\t\n \n", "a", "A b", " leading", "trailing ", "two  spaces   three",
    "Hello, world!", "Don't can't I'LL we'Ve 'tis 'RE 'ſ", "snake_case camelCase SCREAMING", "3.14159 1,000,000 0x1F 1e-9",
    "1 12 123 1234 12345 123456 1234567", "²³¼ Ⅷ ① ٣٤٥ १२३ 〇一二", "naïve café résumé Ångström",
    "e\u0301 a\u0308 \u0915\u094d\u0937 a\u0300\u0301\u0302", "ﬁ ﬂ Ｆｕｌｌ １２３ ｶﾞ", "\u00a0\u2003\u3000x\u2028y\u2029z\u0085w",
    "zero\u200bwidth\u200djoin\ufeffbom\u180ey", "\x01\x02a\x7f\x1b[0m", "\u0000nul", "\U000e0041tag \ue000 private \U0010ffff",
    "👍 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇨🇳 😶‍🌫️", "∑∫√∞≈≠ → ⇒ ← ¬∀x∃y", "$100 £5 €7 ¥9 ₿1 100% #tag @you", "(a)[b]{c}<d>«e»“f”‘g’",
    "...!!!???---___***///\\\\", "<think>\n\n</think>\n\nAnswer", "<|im_start|>user\nHi<|im_end|>\n", "<｜User｜>Hi<｜Assistant｜>",
    "<｜begin▁of▁sentence｜>x<｜end▁of▁sentence｜>", " <|endoftext|> ", "<｜tool▁calls▁begin｜>f<｜tool▁sep｜>g",
    "子曰：「學而時習之，不亦說乎？有朋自遠方來，不亦樂乎？人不知而不慍，不亦君子乎？」",
    "道可道，非常道。名可名，非常名。無名天地之始；有名萬物之母。", "关关雎鸠，在河之洲。窈窕淑女，君子好逑。",
    "床前明月光，疑是地上霜。\n举头望明月，低头思故乡。", "话说天下大势，分久必合，合久必分。周末七国分争，并入于秦。",
    "满纸荒唐言，一把辛酸泪！都云作者痴，谁解其中味？", "甄士隱夢幻識通靈　賈雨村風塵懷閨秀", "春天来了ABC123，GPU显存24GB。",
    "吾輩は猫である。名前はまだ無い。カタカナ・テスト", "나는 학생입니다. 안녕하세요!", "Привет, мир! Ёлка", "مرحبا بالعالم ١٢٣", "שלום עולם",
    "สวัสดีชาวโลก", "កាន់តែពិសេស", "Cửa Việt tiếng", "ελληνικά ἀρχή", "हिन्दी में लिखा", "ქართული ენა", "ትግርኛ",
    "def f(x: int) -> str:\n    return f\"{x:>{8}}\"  # comment\n\n\nclass A(B):\n\tpass\n",
    "#include <vector>\nint main() {\n  std::vector<int> v{1, 2, 3};\n  for (auto& x : v) x <<= 2;\n}\n",
    "SELECT a.id, COUNT(*) FROM t AS a WHERE x >= 10 GROUP BY 1;", "<div class=\"x\">\n  <p>a &amp; b</p>\n</div>",
    "{\"key\": [1, -2.5e3, null, true], \"嵌套\": {\"a\": \"\\u4e2d\"}}", "https://example.com/a?b=c&d=%20e#f", "x=1;y=2 && !z || ~w",
    "| a | b |\n|---|:-:|\n| 1 | 2 |\n", "$$\\frac{a}{b} \\le \\sum_{i=0}^{n} x_i$$", "a" * 300, " " * 100, "\n" * 50, "中" * 100, "!" * 77,
    "ab" * 99, " a" * 60, "\t" * 33 + "x", "Лорем ипсум " * 5, "0" * 50, "é" * 40, "e\u0301" * 40,
]

# First and last code points, from which the random texts are drawn.
RANGES = [
    (0x20, 0x7e), (0x61, 0x7a), (0x20, 0x20), (0x30, 0x39), (0x0a, 0x0a), (0x21, 0x2f), (0x4e00, 0x9fa5), (0x4e00, 0x9fa5),
    (0x3000, 0x303f), (0x3040, 0x30ff), (0xa1, 0x24f), (0x300, 0x36f), (0x370, 0x52f), (0x590, 0x6ff), (0x900, 0xdff),
    (0xe00, 0xeff), (0x2000, 0x206f), (0x2070, 0x218f), (0x2190, 0x27bf), (0xac00, 0xd7a3), (0xff00, 0xffef),
    (0x1f300, 0x1f6ff), (0x20000, 0x2a6d6), (0x0, 0x1f),
]


def random_texts(count):
    generator = random.Random(20261122)
    for _ in range(count):
        parts = []
        for _ in range(generator.randint(1, 30)):
            first, last = generator.choice(RANGES)
            parts.append(chr(generator.randint(first, last)) * generator.choice([1, 1, 1, 2, 5]))
        yield "".join(parts)


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1])
    for text in TEXTS + list(random_texts(240)):
        shown = None
        for parsed in (False, True):
            tokenizer.encode_special_tokens = not parsed  # user-defined tokens are matched either way
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            if ids != shown:
                print(text.encode().hex(), int(parsed), " ".join(map(str, ids)), sep="\t")
            shown = ids


if __name__ == "__main__":
    main()
