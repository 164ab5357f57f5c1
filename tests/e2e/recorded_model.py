"""A model that answers what it was built to answer: each token of a recorded answer leads to the next, for sure.

Its weights are made, not trained: the one layer adds nothing, each token of the recording has a direction of its own in the
embedding, and the head answers it with the token that follows. So a test can have a model think, or call a tool, or both,
through everything that a real one goes through: template, tokenizer, engine, stream. Needs numpy.
"""

import pathlib
import sys

import numpy

from conftest import TESTS

sys.path.append(str(TESTS.parent / "tools"))

from filler_tokenizer import CONTROL, NORMAL, USER_DEFINED, byte_characters  # noqa: E402
from gguf_writer import GgufWriter  # noqa: E402

BEGIN, END, USER, ASSISTANT, TOLD = "<|begin|>", "<|end|>", "<|user|>", "<|assistant|>", "<|told|>"
CERTAIN = 8.0  # how far the next token's logit stands above the others', by the root of the width

# An answer begins after the template's last token. As in R1's the template opens thinking, or closes it unasked for.
TEMPLATE = """{{ bos_token }}{% for message in messages %}\
{% if message.role == 'user' %}<|user|>{{ message.content }}\
{% elif message.role == 'tool' %}<|tool|>{{ message.content }}\
{% elif message.role == 'system' %}{{ message.content }}\
{% else %}<|assistant|>{% if message.reasoning_content %}<think>\n{{ message.reasoning_content }}</think>\n\n{% endif %}{{ message.content }}\
{% for call in message.tool_calls or [] %}OPENING{{ call.function.arguments | tojson }}{% endfor %}<|end|>{% endif %}{% endfor %}\
{% if tools %}{{ tools | tojson }}{% endif %}\
{% if messages[-1].role == 'tool' %}<|told|>\
{% elif tools %}<|assistant|>\
{% elif enable_thinking is defined and not enable_thinking %}<|assistant|><think>\n\n</think>\n\n\
{% else %}<|assistant|><think>\n{% endif %}"""

# token -> the next; each but the ends is the beginning of at most one.
THINKING = ["\n", "First", " I think", " of two", " and", " add two.", "</think>", "\n\n", "It is", " 4.", END]
AFTER_TOOLS = [TOLD, "It is", " 4."]
HERMES = [ASSISTANT, "I will look.", "<tool_call>", '\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n', "</tool_call>",
          '\n<tool_call>\n{"name": "get_time", "arguments": {}}\n</tool_call>', END]
DEEPSEEK = [ASSISTANT, "I will look.", "<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "get_weather", "<｜tool▁sep｜>", '{"city": "Paris"}',
            "<｜tool▁call▁end｜>", '<｜tool▁call▁begin｜>get_time<｜tool▁sep｜>{}<｜tool▁call▁end｜>', "<｜tool▁calls▁end｜>", END]


def spelled(text):
    """As a byte-level vocabulary writes it."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    order = printable + [byte for byte in range(256) if byte not in printable]
    stand_in = dict(zip(order, byte_characters()))
    return "".join(stand_in[byte] for byte in text.encode())


def write_model(path, calls):
    """calls: HERMES or DEEPSEEK."""
    chains = [THINKING, AFTER_TOOLS, calls]
    recorded = list(dict.fromkeys(token for chain in chains for token in chain))
    marks = [token for token in recorded if token.startswith("<｜") and token.count("<") == 1]
    control = [BEGIN, END, USER, ASSISTANT, TOLD, "<|tool|>", *marks]
    defined = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
    texts = [token for token in recorded if token not in control + defined + ["\n"]]
    tokens = byte_characters() + [spelled(text) for text in texts] + control + defined
    types = [NORMAL] * (256 + len(texts)) + [CONTROL] * len(control) + [USER_DEFINED] * len(defined)
    number = {token: tokens.index(token if token in control + defined else spelled(token)) for token in recorded}

    width, layers_inner = 64, 64
    direction = {token: axis for axis, token in enumerate(recorded)}
    assert len(recorded) < width
    embedding = numpy.zeros((len(tokens), width), numpy.float32)
    embedding[:, width - 1] = 1
    head = numpy.zeros((len(tokens), width), numpy.float32)
    head[number[END], width - 1] = CERTAIN  # what was not recorded ends the answer
    for token, axis in direction.items():
        embedding[number[token]] = numpy.eye(width, dtype=numpy.float32)[axis]
    for chain in chains:
        for token, following in zip(chain, chain[1:]):
            head[number[following], direction[token]] = CERTAIN

    writer = GgufWriter("llama")
    for key, value in {"context_length": 2048, "embedding_length": width, "block_count": 1, "feed_forward_length": layers_inner,
                       "attention.head_count": 1, "attention.head_count_kv": 1, "rope.dimension_count": width,
                       "vocab_size": len(tokens), "attention.layer_norm_rms_epsilon": 1e-6}.items():
        writer.add("llama." + key, value)
    writer.add("general.name", "recorded")
    writer.add("tokenizer.ggml.model", "gpt2")
    writer.add("tokenizer.ggml.pre", "qwen2")
    writer.add("tokenizer.ggml.tokens", tokens)
    writer.add("tokenizer.ggml.token_type", types, "int32")
    writer.add("tokenizer.ggml.merges", [f"{spelled(chr(10))} {spelled(chr(10))}"])
    writer.add("tokenizer.ggml.bos_token_id", tokens.index(BEGIN))
    writer.add("tokenizer.ggml.eos_token_id", tokens.index(END))
    opening = "<｜tool▁calls▁begin｜>" if calls is DEEPSEEK else "<tool_call>"
    writer.add("tokenizer.chat_template", TEMPLATE.replace("OPENING", opening))
    writer.add_tensor("token_embd.weight", "f32", embedding.shape, embedding)
    writer.add_tensor("output.weight", "f32", head.shape, head)
    for name in ["output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"]:
        writer.add_tensor(f"{name}.weight", "f32", (width,), numpy.ones(width, numpy.float32))
    nothing = numpy.zeros((width, width), numpy.float32)
    for name in ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]:
        writer.add_tensor(f"blk.0.{name}.weight", "f32", nothing.shape, nothing)
    writer.write(pathlib.Path(path))
    return path
