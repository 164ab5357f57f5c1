"""A byte-level BPE tokenizer of any size without training: 256 bytes, then made-up syllables and words, each reached
by one merge, then the special tokens of a DeepSeek distill at their real ids. Text goes in and comes out; the words of
a random model are nonsense, as they must be.
"""

from dataclasses import dataclass, field
from typing import Any

from gguf_writer import GgufWriter

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5  # tokenizer.ggml.token_type
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPACE = "\u0120"  # how a byte-level vocabulary writes a space
STRIDE = 300_007  # a prime: neighbouring ids are unlike words

BEGIN, END = "<\uff5cbegin\u2581of\u2581sentence\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>"
USER, ASSISTANT = "<\uff5cUser\uff5c>", "<\uff5cAssistant\uff5c>"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}"
    "{% elif message['role'] == 'user' %}{{ '" + USER + "' + message['content'] }}"
    "{% elif message['role'] == 'assistant' %}"
    "{{ '" + ASSISTANT + "' + message['content'].split('</think>')[-1] + '" + END + "' }}"
    "{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + "<think>\\n' }}{% endif %}")

WORDS = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|"


@dataclass
class Family:
    """One distill's tokenizer: the pre-tokenizer's name in a GGUF, and special tokens by id."""
    pre_tokenizer: str
    digits: str  # how many digits its pattern takes at once
    special: dict[int, str]
    user_defined: tuple[str, ...] = ("<think>", "</think>")

    def id_of(self, text: str) -> int:
        return next(number for number, name in self.special.items() if name == text)


FAMILIES = {
    "r1-distill-qwen": Family("deepseek-r1-qwen", "", {
        151643: END, 151644: USER, 151645: ASSISTANT, 151646: BEGIN, 151647: "<|EOT|>", 151648: "<think>",
        151649: "</think>"}),
    "r1-distill-llama": Family("llama-bpe", "{1,3}", {
        128000: BEGIN, 128001: END, 128011: USER, 128012: ASSISTANT, 128013: "<think>", 128014: "</think>"}),
    "r1-0528-qwen3": Family("qwen2", "", {
        151643: BEGIN, 151645: END, 151667: "<think>", 151668: "</think>", 151669: USER, 151670: ASSISTANT}),
    "deepseek-v2": Family("deepseek-llm", "", {100000: BEGIN, 100001: END, 100002: USER, 100003: ASSISTANT}),
    # The real one has begin and end at 0 and 1.
    "deepseek-v3": Family("deepseek-v3", "{1,3}", {
        128798: "<think>", 128799: "</think>", 128801: BEGIN, 128802: END, 128803: USER, 128804: ASSISTANT}),
    "tiny": Family("deepseek-r1-qwen", "", {
        2041: END, 2042: USER, 2043: ASSISTANT, 2044: BEGIN, 2045: "<think>", 2046: "</think>"}),
}


@dataclass
class Tokenizer:
    family: Family
    tokens: list[str] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)


def make(family_name: str, vocabulary: int) -> Tokenizer:
    family = FAMILIES[family_name]
    made = Tokenizer(family, tokens=byte_characters())
    syllables = [a + b for a in LETTERS + SPACE for b in LETTERS]
    pairs = [(a, b) for a in LETTERS + SPACE for b in LETTERS]
    words, first_special = len(syllables) * len(LETTERS) ** 2, min(family.special)
    for number in range(first_special - 256 - len(pairs)):
        word = number * STRIDE % words
        pairs.append((syllables[word % len(syllables)], syllables[word // len(syllables)]))
    for left, right in pairs[:first_special - 256]:
        made.tokens.append(left + right)
        made.merges.append(f"{left} {right}")
    made.types = [NORMAL] * len(made.tokens)
    for number in range(len(made.tokens), vocabulary):
        text = family.special.get(number)
        made.tokens.append(text or f"[PAD{number}]")
        made.types.append(UNUSED if text is None else USER_DEFINED if text in family.user_defined else CONTROL)
    return made


def byte_characters() -> list[str]:
    """The printable stand-ins of the 256 bytes, in GPT-2's order: printable ones first, the rest from U+0100 on."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [chr(byte) for byte in printable] + [chr(256 + n) for n in range(256 - len(printable))]


def add_to_gguf(writer: GgufWriter, tokenizer: Tokenizer) -> None:
    family = tokenizer.family
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", family.pre_tokenizer)
    writer.add("tokenizer.ggml.tokens", tokenizer.tokens)
    writer.add("tokenizer.ggml.token_type", tokenizer.types, "int32")
    writer.add("tokenizer.ggml.merges", tokenizer.merges)
    writer.add("tokenizer.ggml.bos_token_id", family.id_of(BEGIN))
    writer.add("tokenizer.ggml.eos_token_id", family.id_of(END))
    writer.add("tokenizer.ggml.add_bos_token", True)
    writer.add("tokenizer.ggml.add_eos_token", False)
    writer.add("tokenizer.chat_template", CHAT_TEMPLATE)


def tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    """Hugging Face's tokenizer.json."""
    family = tokenizer.family
    count = len(tokenizer.merges) + 256
    added = [{"id": number, "content": text, "special": text not in family.user_defined, "normalized": False,
              "single_word": False, "lstrip": False, "rstrip": False} for number, text in sorted(family.special.items())]
    bos = family.id_of(BEGIN)
    bos_first = [{"SpecialToken": {"id": BEGIN, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    bos_pair = bos_first + [{"Sequence": {"id": "B", "type_id": 1}}]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    pattern = CONTRACTIONS + WORDS % family.digits
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added, "normalizer": None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}, byte_level]},
            "post_processor": {"type": "TemplateProcessing", "single": bos_first, "pair": bos_pair,
                               "special_tokens": {BEGIN: {"id": BEGIN, "ids": [bos], "tokens": [BEGIN]}}},
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "ignore_merges": family.pre_tokenizer == "llama-bpe",
                      "vocab": {text: number for number, text in enumerate(tokenizer.tokens[:count])},
                      "merges": tokenizer.merges}}


def tokenizer_config() -> dict[str, Any]:
    return {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": BEGIN, "eos_token": END, "pad_token": END,
            "add_bos_token": True, "add_eos_token": False, "chat_template": CHAT_TEMPLATE}
