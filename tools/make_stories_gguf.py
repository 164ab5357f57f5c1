#!/usr/bin/env python3
"""Turns stories260K (llama2.c's legacy .bin and its tokenizer) into a GGUF.

The model is 0.26 million parameters trained on TinyStories: small enough to keep in the repository, real enough to
write sentences. llama2.c rotates interleaved pairs in q and k, which is what GGUF's `llama` expects too, so no rows move.
"""

import argparse
import struct
from pathlib import Path

import numpy

from gguf_writer import GgufWriter

UNKNOWN, CONTROL, BYTE, NORMAL = 2, 3, 6, 1  # tokenizer.ggml.token_type
BOS, EOS = 1, 2

# A story teller goes on where the text stops: its "chat" is the text said so far.
CONTINUE_TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


def read_checkpoint(path: Path) -> tuple[dict, dict[str, numpy.ndarray]]:
    """The legacy layout: seven int32, then every tensor of a kind for all layers, one kind after another."""
    raw = path.read_bytes()
    names = ("dim", "hidden", "layers", "heads", "kv_heads", "vocabulary", "context")
    c = dict(zip(names, struct.unpack_from("<7i", raw)))
    tied, c["vocabulary"] = c["vocabulary"] > 0, abs(c["vocabulary"])
    values = numpy.frombuffer(raw, "<f4", offset=28)
    kv_dim = c["dim"] // c["heads"] * c["kv_heads"]
    layers, dim, hidden = c["layers"], c["dim"], c["hidden"]
    position = 0

    def take(*shape: int) -> numpy.ndarray:
        nonlocal position
        count = int(numpy.prod(shape))
        position += count
        return values[position - count:position].reshape(shape)

    tensors = {"token_embd": take(c["vocabulary"], dim)}
    for name, *shape in (("attn_norm", dim), ("attn_q", dim, dim), ("attn_k", kv_dim, dim), ("attn_v", kv_dim, dim),
                         ("attn_output", dim, dim), ("ffn_norm", dim), ("ffn_gate", hidden, dim),
                         ("ffn_down", dim, hidden), ("ffn_up", hidden, dim)):
        for layer, tensor in enumerate(take(layers, *shape)):
            tensors[f"blk.{layer}.{name}"] = tensor
    tensors["output_norm"] = take(dim)
    take(c["context"], dim // c["heads"])  # cos and sin tables, which a reader computes
    if not tied:
        tensors["output"] = take(c["vocabulary"], dim)
    if position != len(values):
        raise SystemExit(f"{path}: {len(values)} values, but its header says {position}")
    return c, tensors


def read_tokenizer(path: Path, count: int) -> tuple[list[bytes], list[float], list[int]]:
    """llama2.c's file: longest length, then score, length and bytes of each; spaces stand for SentencePiece's U+2581."""
    raw = path.read_bytes()
    tokens, scores, types, position = [], [], [], 4
    for index in range(count):
        score, length = struct.unpack_from("<fi", raw, position)
        text = raw[position + 8:position + 8 + length]
        position += 8 + length
        is_byte = len(text) == 6 and text.startswith(b"<0x")
        special = {0: (b"<unk>", UNKNOWN), BOS: (b"<s>", CONTROL), EOS: (b"</s>", CONTROL)}
        text, kind = special.get(index, (text.replace(b" ", "\u2581".encode()), BYTE if is_byte else NORMAL))
        tokens.append(text)
        scores.append(score)
        types.append(kind)
    return tokens, scores, types


def layer_order(item: tuple[str, numpy.ndarray]) -> int:
    """The order of a forward pass, so that a layer's tensors lie together in the file."""
    name = item[0]
    return int(name.split(".")[1]) if name.startswith("blk.") else -1 if name == "token_embd" else 1 << 20


def main() -> None:
    parser = argparse.ArgumentParser(description="Write stories260K as a GGUF (llama, F32, SentencePiece tokenizer).")
    parser.add_argument("checkpoint", type=Path, help="stories260K.bin, llama2.c's legacy layout")
    parser.add_argument("tokenizer", type=Path, help="tok512.bin")
    parser.add_argument("output", type=Path, help="the GGUF to write")
    arguments = parser.parse_args()

    c, tensors = read_checkpoint(arguments.checkpoint)
    tokens, scores, types = read_tokenizer(arguments.tokenizer, c["vocabulary"])
    writer = GgufWriter("llama")
    writer.add("general.name", "stories260K")
    writer.add("general.license", "mit")
    writer.add("general.file_type", 0)
    for key, value in (("context_length", c["context"]), ("embedding_length", c["dim"]), ("block_count", c["layers"]),
                       ("feed_forward_length", c["hidden"]), ("attention.head_count", c["heads"]),
                       ("attention.head_count_kv", c["kv_heads"]), ("attention.layer_norm_rms_epsilon", 1e-5),
                       ("rope.dimension_count", c["dim"] // c["heads"]), ("rope.freq_base", 10000.0),
                       ("vocab_size", c["vocabulary"])):
        writer.add(f"llama.{key}", value)
    writer.add("tokenizer.ggml.model", "llama")
    writer.add("tokenizer.ggml.pre", "default")
    writer.add("tokenizer.ggml.tokens", tokens)
    writer.add("tokenizer.ggml.scores", scores, "float32")
    writer.add("tokenizer.ggml.token_type", types, "int32")
    for key, value in (("bos", BOS), ("eos", EOS), ("unknown", 0)):
        writer.add(f"tokenizer.ggml.{key}_token_id", value)
    writer.add("tokenizer.ggml.eot_token_id", BOS)  # in training the next story's BOS follows a story's end
    writer.add("tokenizer.ggml.add_bos_token", True)
    writer.add("tokenizer.ggml.add_eos_token", False)
    writer.add("tokenizer.ggml.add_space_prefix", True)
    writer.add("tokenizer.chat_template", CONTINUE_TEMPLATE)
    for name, tensor in sorted(tensors.items(), key=layer_order):
        writer.add_tensor(name + ".weight", "f32", tensor.shape, tensor)
    writer.write(arguments.output)
    print(f"{arguments.output}: {len(tensors)} tensors, {arguments.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
