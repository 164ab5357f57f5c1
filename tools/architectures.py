"""What a llama, qwen2 or qwen3 model consists of: its tensors' names and shapes in a Hugging Face folder and in a GGUF,
and the GGUF keys that state the same as its config.json. The configuration is config.json's content as a dict.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy

from gguf_writer import GgufWriter


@dataclass(frozen=True)
class ModelTensor:
    hf_name: str
    gguf_name: str
    shape: tuple[int, ...]  # rows, columns; or a length

    @property
    def kind(self) -> str:
        """Its part in the model: "attn_q", "ffn_down", "token_embd", "output_norm" ..."""
        return self.gguf_name.split(".")[-2]

    @property
    def layer(self) -> int | None:
        return int(self.gguf_name.split(".")[1]) if self.gguf_name.startswith("blk.") else None


def head_dim(config: dict[str, Any]) -> int:
    return config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]


def model_tensors(config: dict[str, Any]) -> list[ModelTensor]:
    """Every tensor, in the order of a forward pass."""
    hidden, width = config["hidden_size"], head_dim(config)
    query, key = config["num_attention_heads"] * width, config["num_key_value_heads"] * width
    inner, vocabulary = config["intermediate_size"], config["vocab_size"]
    layer = [("input_layernorm", "attn_norm", (hidden,)),
             ("self_attn.q_proj", "attn_q", (query, hidden)),
             ("self_attn.k_proj", "attn_k", (key, hidden)),
             ("self_attn.v_proj", "attn_v", (key, hidden)),
             ("self_attn.o_proj", "attn_output", (hidden, query)),
             ("post_attention_layernorm", "ffn_norm", (hidden,)),
             ("mlp.gate_proj", "ffn_gate", (inner, hidden)),
             ("mlp.up_proj", "ffn_up", (inner, hidden)),
             ("mlp.down_proj", "ffn_down", (hidden, inner))]
    if config["model_type"] == "qwen3":
        layer += [("self_attn.q_norm", "attn_q_norm", (width,)), ("self_attn.k_norm", "attn_k_norm", (width,))]
    tensors = [ModelTensor("model.embed_tokens.weight", "token_embd.weight", (vocabulary, hidden))]
    for number in range(config["num_hidden_layers"]):
        for hf, gguf, shape in layer:
            hf, gguf = f"model.layers.{number}.{hf}", f"blk.{number}.{gguf}"
            tensors.append(ModelTensor(f"{hf}.weight", f"{gguf}.weight", shape))
            if config["model_type"] == "qwen2" and gguf.endswith(("attn_q", "attn_k", "attn_v")):
                tensors.append(ModelTensor(f"{hf}.bias", f"{gguf}.bias", shape[:1]))
    tensors.append(ModelTensor("model.norm.weight", "output_norm.weight", (hidden,)))
    if not config.get("tie_word_embeddings"):
        tensors.append(ModelTensor("lm_head.weight", "output.weight", (vocabulary, hidden)))
    return tensors


def to_gguf(config: dict[str, Any], tensor: ModelTensor, values: numpy.ndarray) -> numpy.ndarray:
    """A tensor's values as the GGUF has them. For `llama` the rows of q and k are moved from "first half, second half"
    of a head to interleaved pairs, which is how its readers rotate them; the others stay."""
    heads = {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}.get(tensor.kind)
    if config["model_type"] != "llama" or heads is None:
        return values
    return values.reshape(heads, 2, -1, values.shape[-1]).swapaxes(1, 2).reshape(values.shape)


def rope_scaling(config: dict[str, Any]) -> dict[str, Any]:
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    return {**scaling, "type": scaling.get("rope_type") or scaling.get("type") or "default"}


def llama3_factors(config: dict[str, Any]) -> numpy.ndarray | None:
    """The divisors of the rotation frequencies, one a pair (GGUF's rope_freqs.weight), for Llama-3 scaling: none for
    short wavelengths, `factor` for long ones, a smooth passage between."""
    scaling = rope_scaling(config)
    if scaling["type"] != "llama3":
        return None
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    original, width = scaling["original_max_position_embeddings"], head_dim(config)
    factors = []
    for pair in range(width // 2):
        wavelength = 2 * math.pi * config["rope_theta"] ** (2 * pair / width)
        smooth = (original / wavelength - low) / (high - low)
        factors.append(1.0 if smooth > 1 else factor if smooth < 0 else 1 / ((1 - smooth) / factor + smooth))
    return numpy.array(factors, dtype=numpy.float32)


def add_metadata(writer: GgufWriter, config: dict[str, Any]) -> None:
    """The architecture's keys, as llama.cpp's converter writes them."""
    scaling = rope_scaling(config)
    values = {"context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
              "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
              "attention.head_count": config["num_attention_heads"],
              "attention.head_count_kv": config["num_key_value_heads"],
              "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
              "rope.freq_base": float(config.get("rope_theta") or scaling["rope_theta"]),
              "vocab_size": config["vocab_size"]}
    if config["model_type"] == "llama":
        values["rope.dimension_count"] = head_dim(config)
    if "head_dim" in config:
        values |= {"attention.key_length": head_dim(config), "attention.value_length": head_dim(config)}
    if scaling["type"] == "yarn":
        values |= {"rope.scaling.type": "yarn", "rope.scaling.factor": float(scaling["factor"]),
                   "rope.scaling.original_context_length": scaling["original_max_position_embeddings"]}
        for key, name in (("attn_factor", "attn_factor"), ("beta_fast", "yarn_beta_fast"),
                          ("beta_slow", "yarn_beta_slow")):
            if key in scaling:
                values[f"rope.scaling.{name}"] = float(scaling[key])
    for key, value in values.items():
        writer.add(f"{config['model_type']}.{key}", value)
