#!/usr/bin/env python3
"""Writes a model of a real shape with seeded random weights, as a GGUF file or a Hugging Face folder.

For tests, benchmarks, and trying out whether a shape fits and how fast it runs before it is downloaded. It speaks
nonsense. Needs numpy alone; memory stays small, whatever the size of the model. The same seed writes the same bytes;
in bf16 a GGUF and a folder are the same model (llama's q and k rows apart, which GGUF orders otherwise, and DeepSeek's
stacks). DeepSeek's true widths with few layers: --shape deepseek-v3 --layers 2 has a dense one and one of experts.

    tools/make_model.py --shape r1-distill-qwen-1.5b --type q4_k --mix q4_k_m 1.5b.gguf
    tools/make_model.py --shape qwen3-8b --format huggingface --type f8_e4m3 --layers 4 folder
"""

import argparse
import itertools
import json
import math
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any, Callable

import numpy

import architectures
import deepseek
import filler_tokenizer
from architectures import ModelTensor
from gguf_writer import TYPES, GgufWriter
from random_weights import FORMATS, random_pieces
from safetensors_writer import DTYPE_BYTES, Entry, total_bytes, write_folder

FP8_BLOCK = 128
FP8_DEVIATION = 32.0  # of the stored values; the scales bring them down
SHARD_BYTES_MAX = 4_000_000_000
ROUTER = "ffn_gate_inp"
HEADER_BYTES_MAX = 32_000_000  # a GGUF's tokenizer and tensor list


def shape(model_type: str, family: str, layers: int, hidden: int, inner: int, heads: int, kv_heads: int,
          vocabulary: int, theta: float, epsilon: float, **others: Any) -> tuple[str, dict[str, Any]]:
    tokens = filler_tokenizer.FAMILIES[family]
    return family, {
        "architectures": [model_type.capitalize() + "ForCausalLM"], "model_type": model_type, "hidden_act": "silu",
        "num_hidden_layers": layers, "hidden_size": hidden, "intermediate_size": inner, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "vocab_size": vocabulary, "max_position_embeddings": 131072,
        "rope_theta": theta, "rms_norm_eps": epsilon, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
        "bos_token_id": tokens.id_of(filler_tokenizer.BEGIN), "eos_token_id": tokens.id_of(filler_tokenizer.END),
        **others}


def latent_shape(version: int, layers: int, dense: int, hidden: int, inner: int, expert: int, heads: int, vocabulary: int,
                 experts: int, chosen: int, shared: int, mscale: float, **others: Any) -> tuple[str, dict[str, Any]]:
    """DeepSeek-V2's and V3's: what all published ones share stands here."""
    family, values = shape(
        f"deepseek_v{version}", f"deepseek-v{version}", layers, hidden, inner, heads, heads, vocabulary, 1e4, 1e-6,
        kv_lora_rank=512, qk_nope_head_dim=128, qk_rope_head_dim=64, v_head_dim=128, moe_intermediate_size=expert,
        n_routed_experts=experts, num_experts_per_tok=chosen, n_shared_experts=shared, first_k_dense_replace=dense,
        rope_scaling={"type": "yarn", "factor": 40, "original_max_position_embeddings": 4096, "beta_fast": 32,
                      "beta_slow": 1, "mscale": mscale, "mscale_all_dim": mscale}, **others)
    return family, {**values, "architectures": [f"DeepseekV{version}ForCausalLM"], "max_position_embeddings": 163840}


LLAMA3_SCALING = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                  "original_max_position_embeddings": 8192}
R1_0528_SCALING = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768,
                   "attn_factor": 0.8782488562869419}
SHAPES = {
    "r1-distill-qwen-1.5b": shape("qwen2", "r1-distill-qwen", 28, 1536, 8960, 12, 2, 151936, 1e4, 1e-6),
    "r1-distill-qwen-7b": shape("qwen2", "r1-distill-qwen", 28, 3584, 18944, 28, 4, 152064, 1e4, 1e-6),
    "r1-distill-llama-8b": shape("llama", "r1-distill-llama", 32, 4096, 14336, 32, 8, 128256, 5e5, 1e-5,
                                 rope_scaling=LLAMA3_SCALING),
    "qwen3-8b": shape("qwen3", "r1-0528-qwen3", 36, 4096, 12288, 32, 8, 151936, 1e6, 1e-6, head_dim=128,
                      rope_scaling=R1_0528_SCALING),
    "deepseek-v2-lite": latent_shape(
        2, 27, 1, 2048, 10944, 1408, 16, 102400, 64, 6, 2, 0.707, q_lora_rank=None, topk_method="greedy",
        scoring_func="softmax", norm_topk_prob=False, routed_scaling_factor=1.0),
    "deepseek-v3": latent_shape(
        3, 61, 3, 7168, 18432, 2048, 128, 129280, 256, 8, 1, 1.0, q_lora_rank=1536, topk_method="noaux_tc",
        scoring_func="sigmoid", n_group=8, topk_group=4, norm_topk_prob=True, routed_scaling_factor=2.5),
    "tiny": shape("qwen2", "tiny", 4, 256, 768, 4, 2, 2048, 1e4, 1e-6),
}
# What a row that is no whole number of 256-value blocks is stored in instead, as llama.cpp's quantizer falls back.
SHORT_ROW_FALLBACK = {"q2_k": "iq4_nl", "q3_k": "iq4_nl", "iq4_xs": "iq4_nl", "q4_k": "q5_0", "q5_k": "q5_1",
                      "q6_k": "q8_0", **{name: "iq4_nl" for name in TYPES if name[:3] in ("iq1", "iq2", "iq3")}}
# What a file is mostly of, as general.file_type counts (the GGUF specification); some readers want to know.
FILE_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "q2_k": 10, "q4_k_m": 15, "q6_k": 18,
              "bf16": 32}
MIXES = {"q4_k_m": ("q4_k", "q6_k"), "many": tuple(name for name in TYPES if name in FORMATS)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="the GGUF file, or the folder")
    parser.add_argument("--shape", choices=SHAPES, required=True)
    parser.add_argument("--format", choices=("gguf", "huggingface"), default="gguf")
    parser.add_argument("--type", choices=FORMATS, help="how matrices are stored (default: q8_0, a folder bf16)")
    parser.add_argument("--mix", choices=MIXES,
                        help="for a GGUF. q4_k_m: the output and half of the layers' attn_v and ffn_down in q6_k, the "
                             "rest q4_k; many: the matrices take turns through every format")
    parser.add_argument("--layers", type=int, help="make the first N layers alone")
    parser.add_argument("--prediction", action="store_true", help="with the layer that predicts one token further (MTP)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    arguments = parser.parse_args()
    if arguments.layers is not None and arguments.layers < 1:
        parser.error("--layers must be at least 1")
    if arguments.mix and (arguments.format != "gguf" or arguments.type not in (None, MIXES[arguments.mix][0])):
        parser.error(f"--mix {arguments.mix} is a GGUF of {', '.join(MIXES[arguments.mix])}")
    stored = arguments.type or (MIXES[arguments.mix][0] if arguments.mix else "q8_0" if arguments.format == "gguf" else "bf16")
    if arguments.format == "gguf" and stored not in TYPES:
        parser.error(f"GGUF has no {stored}; --format huggingface has")
    if arguments.format == "huggingface" and stored.upper() not in DTYPE_BYTES:
        parser.error(f"a Hugging Face folder stores f32, f16, bf16 or f8_e4m3, not {stored}")

    family, config = SHAPES[arguments.shape]
    config = {**config, "num_hidden_layers": arguments.layers or config["num_hidden_layers"]}
    if arguments.prediction and not is_latent(config):
        parser.error("--prediction is for DeepSeek's own shapes")
    if is_latent(config):  # however few layers, the last one has experts
        config["first_k_dense_replace"] = min(config["first_k_dense_replace"], config["num_hidden_layers"] - 1)
    if arguments.prediction:
        config["num_nextn_predict_layers"] = 1
    write = write_gguf if arguments.format == "gguf" else write_huggingface
    write(arguments, family, config, stored)


def write_gguf(arguments: argparse.Namespace, family: str, config: dict[str, Any], stored: str) -> None:
    latent = is_latent(config)
    writer = GgufWriter("deepseek2" if latent else config["model_type"])
    writer.add("general.name", f"random {arguments.shape}")
    if latent:
        deepseek.add_metadata(writer, config, old=False, prediction=arguments.prediction)
    else:
        architectures.add_metadata(writer, config)
    filler_tokenizer.add_to_gguf(writer, filler_tokenizer.make(family, config["vocab_size"]))
    writer.add("general.quantization_version", 2)
    if (file_type := FILE_TYPES.get(arguments.mix or stored)) is not None:
        writer.add("general.file_type", file_type)
    if (factors := architectures.llama3_factors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", "f32", factors.shape, factors)
    turns = itertools.cycle(MIXES["many"])
    for tensor in (deepseek.gguf_model_tensors(config, arguments.prediction) if latent
                   else architectures.model_tensors(config)):
        if arguments.mix == "many" and len(tensor.shape) > 1:
            stored = next(turns)
        name = gguf_type(tensor, config, stored, arguments.mix)
        writer.add_tensor(tensor.gguf_name, name, tensor.shape, weights(tensor, config, name, arguments.seed))
    check_space(arguments.output, writer.data_bytes() + HEADER_BYTES_MAX)
    with Progress(writer.data_bytes(), arguments.quiet) as progress:
        writer.write(arguments.output, progress.add)
    print(f"{arguments.output}: {len(writer.tensors)} tensors, {arguments.output.stat().st_size} bytes")


def is_latent(config: dict[str, Any]) -> bool:
    return config["model_type"].startswith("deepseek")


def gguf_type(tensor: ModelTensor, config: dict[str, Any], stored: str, mix: str | None) -> str:
    if len(tensor.shape) == 1 or tensor.kind == ROUTER:
        return "f32"
    if tensor.kind in ("attn_k_b", "attn_v_b"):  # small, and read by every head
        return stored if stored in ("f32", "f16", "bf16") else "q8_0"
    name = stored
    if mix == "q4_k_m" and (tensor.kind == "output" or
                            tensor.kind in ("attn_v", "ffn_down", "ffn_down_exps", "ffn_down_shexp") and has_more_bits(tensor.layer, config)):
        name = "q6_k"
    if tensor.shape[-1] % TYPES[name][1]:
        name = SHORT_ROW_FALLBACK.get(name, name)
    return name


def has_more_bits(layer: int, config: dict[str, Any]) -> bool:
    """llama.cpp's choice for Q4_K_M: the first and last eighth, and every third layer between."""
    layers = config["num_hidden_layers"]
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def write_huggingface(arguments: argparse.Namespace, family: str, config: dict[str, Any], stored: str) -> None:
    entries = []
    for tensor in (deepseek.model_tensors(config, arguments.prediction) if is_latent(config)
                   else architectures.model_tensors(config)):
        # DeepSeek's FP8 checkpoints keep embeddings, head, router, norms and biases in BF16.
        fp8 = (stored == "f8_e4m3" and len(tensor.shape) == 2 and tensor.layer is not None and tensor.kind != ROUTER)
        dtype = "bf16" if stored == "f8_e4m3" and not fp8 else stored
        data = weights(tensor, config, dtype, arguments.seed, FP8_DEVIATION if fp8 else None)
        entries.append(Entry(tensor.hf_name, dtype.upper(), tensor.shape, data))
        if fp8:
            grid = tuple(-(-n // FP8_BLOCK) for n in tensor.shape)
            scale = deviation(tensor, config) / FP8_DEVIATION
            spread = tensor_generator(arguments.seed, tensor.hf_name + "_scale_inv").uniform(0.75, 1.25, grid)
            entries.append(Entry(tensor.hf_name + "_scale_inv", "F32", grid, (scale * spread).astype(numpy.float32)))
    if stored == "f8_e4m3":
        config = {**config, "quantization_config": {"quant_method": "fp8", "fmt": "e4m3",
                                                    "activation_scheme": "dynamic",
                                                    "weight_block_size": [FP8_BLOCK, FP8_BLOCK]}}
    check_space(arguments.output, total_bytes(entries) + HEADER_BYTES_MAX)
    folder = arguments.output
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = filler_tokenizer.make(family, config["vocab_size"])
    generation = {"bos_token_id": config["bos_token_id"], "eos_token_id": config["eos_token_id"], "do_sample": True,
                  "temperature": 0.6, "top_p": 0.95}
    for name, content in (("config.json", config), ("generation_config.json", generation),
                          ("tokenizer.json", filler_tokenizer.tokenizer_json(tokenizer)),
                          ("tokenizer_config.json", filler_tokenizer.tokenizer_config())):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with Progress(total_bytes(entries), arguments.quiet) as progress:
        write_folder(folder, entries, SHARD_BYTES_MAX, progress.add)
    print(f"{folder}: {len(entries)} tensors, {total_bytes(entries)} bytes")


def tensor_generator(seed: int, name: str) -> numpy.random.Generator:
    return numpy.random.Generator(numpy.random.SFC64([seed, zlib.crc32(name.encode())]))


def weights(tensor: ModelTensor, config: dict[str, Any], name: str, seed: int,
            stored_deviation: float | None = None) -> Callable[[], Any]:
    """A function that yields the tensor's bytes, the same at every call."""
    generator = lambda: tensor_generator(seed, tensor.hf_name)
    if len(tensor.shape) == 1:
        centre = 0 if tensor.hf_name.endswith(".bias") else 1
        return lambda: [encode_vector(centre + 0.1 * generator().standard_normal(tensor.shape[0]), name)]
    scale = stored_deviation or deviation(tensor, config)
    return lambda: random_pieces(generator(), name, math.prod(tensor.shape), scale)


def deviation(tensor: ModelTensor, config: dict[str, Any]) -> float:
    """Keeps every activation near one: matrices by their row length, what returns to the residual by the depth too."""
    if tensor.kind == "token_embd":
        return 1.0
    depth = math.sqrt(2 * config["num_hidden_layers"]) if tensor.kind.startswith(("attn_output", "ffn_down")) else 1
    inputs = tensor.shape[-2 if tensor.kind == "attn_k_b" else -1]  # that one is stored transposed
    return (2 if tensor.kind == "output" else 1) / math.sqrt(inputs) / depth


def encode_vector(values: numpy.ndarray, name: str) -> numpy.ndarray:
    """Norms and biases are numbers of BF16 in whatever they are stored, as in the published checkpoints."""
    bits = values.astype(numpy.float32).view(numpy.uint32) >> 16
    if name == "bf16":
        return bits.astype(numpy.uint16)
    return (bits << 16).view(numpy.float32).astype(numpy.float16 if name == "f16" else numpy.float32)


def check_space(output: Path, needed: int) -> None:
    folder = output.absolute().parent
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        sys.exit(f"{output} needs {needed / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free")


class Progress:
    """A bar on standard error, where that is a terminal."""

    def __init__(self, total: int, quiet: bool):
        self.total, self.done, self.shown = max(total, 1), 0, -1
        self.silent = quiet or not sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: Any) -> None:
        if not self.silent:
            print(file=sys.stderr)

    def add(self, count: int) -> None:
        self.done += count
        percent = min(100 * self.done // self.total, 100)
        if percent != self.shown and not self.silent:
            self.shown = percent
            bar = "#" * (percent * 40 // 100)
            print(f"\r[{bar:40}] {percent}% of {self.total / 1e9:.1f} GB", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
