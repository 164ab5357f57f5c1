"""What a deepseek_v2 or deepseek_v3 model consists of, as architectures.py says it of the dense ones: tensors in a
Hugging Face folder and in a GGUF ("deepseek2"), and the GGUF's keys.

A GGUF has two generations: `old` holds keys and values up-projected by one tensor and states a head's widths; the newer
one has them apart, the keys' transposed, and states the widths of a cached row beside them.
"""

from typing import Any

from architectures import ModelTensor, rope_scaling
from gguf_writer import GgufWriter

GATING = {"softmax": 1, "sigmoid": 2}


def model_tensors(config: dict[str, Any], prediction: bool = False) -> list[ModelTensor]:
    """Every tensor of the folder, in the order of a forward pass; last, if asked for, the layer that predicts one token
    further (MTP). A GGUF name may stand for several: a stack."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    tensors = [ModelTensor("model.embed_tokens.weight", "token_embd.weight", (vocabulary, hidden))]
    for number in range(config["num_hidden_layers"]):
        tensors += layer(config, number)
    tensors += [ModelTensor("model.norm.weight", "output_norm.weight", (hidden,)),
                ModelTensor("lm_head.weight", "output.weight", (vocabulary, hidden))]
    return tensors + (layer(config, config["num_hidden_layers"], prediction_input(hidden)) if prediction else [])


def layer(config: dict[str, Any], number: int, more: list[tuple[str, str, tuple[int, ...]]] = []) -> list[ModelTensor]:
    rows = more + attention(config)
    if has_experts(config, number):
        rows += experts(config)
    else:
        rows += feed_forward("mlp", "ffn_{}", config["intermediate_size"], config["hidden_size"])
    return [ModelTensor(f"model.layers.{number}.{hf}", f"blk.{number}.{gguf}", shape) for hf, gguf, shape in rows]


def has_experts(config: dict[str, Any], number: int) -> bool:
    return number >= config["first_k_dense_replace"] and number % config.get("moe_layer_freq", 1) == 0


def prediction_input(hidden: int) -> list[tuple[str, str, tuple[int, ...]]]:
    """What a prediction layer has beside a layer's own; embedding and head are the model's."""
    return [("enorm.weight", "nextn.enorm.weight", (hidden,)), ("hnorm.weight", "nextn.hnorm.weight", (hidden,)),
            ("eh_proj.weight", "nextn.eh_proj.weight", (hidden, 2 * hidden)),
            ("shared_head.norm.weight", "nextn.shared_head_norm.weight", (hidden,))]


def attention(config: dict[str, Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    hidden, heads, latent = config["hidden_size"], config["num_attention_heads"], config["kv_lora_rank"]
    nope, rope, value = config["qk_nope_head_dim"], config["qk_rope_head_dim"], config["v_head_dim"]
    rows = [("input_layernorm", "attn_norm", (hidden,)),
            ("self_attn.kv_a_proj_with_mqa", "attn_kv_a_mqa", (latent + rope, hidden)),
            ("self_attn.kv_a_layernorm", "attn_kv_a_norm", (latent,)),
            ("self_attn.kv_b_proj", "attn_kv_b", (heads * (nope + value), latent)),
            ("self_attn.o_proj", "attn_output", (hidden, heads * value)),
            ("post_attention_layernorm", "ffn_norm", (hidden,))]
    if query_latent := config.get("q_lora_rank"):
        rows += [("self_attn.q_a_proj", "attn_q_a", (query_latent, hidden)),
                 ("self_attn.q_a_layernorm", "attn_q_a_norm", (query_latent,)),
                 ("self_attn.q_b_proj", "attn_q_b", (heads * (nope + rope), query_latent))]
    else:
        rows.append(("self_attn.q_proj", "attn_q", (heads * (nope + rope), hidden)))
    return [(f"{hf}.weight", f"{gguf}.weight", shape) for hf, gguf, shape in rows]


def feed_forward(hf: str, gguf: str, inner: int, hidden: int) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(f"{hf}.{part}_proj.weight", gguf.format(part) + ".weight", shape)
            for part, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner)))]


def experts(config: dict[str, Any]) -> list[tuple[str, str, tuple[int, ...]]]:
    hidden, count, inner = config["hidden_size"], config["n_routed_experts"], config["moe_intermediate_size"]
    rows = [("mlp.gate.weight", "ffn_gate_inp.weight", (count, hidden))]
    if config["model_type"] == "deepseek_v3":
        rows.append(("mlp.gate.e_score_correction_bias", "exp_probs_b.bias", (count,)))
    for expert in range(count):
        rows += feed_forward(f"mlp.experts.{expert}", "ffn_{}_exps", inner, hidden)
    return rows + feed_forward("mlp.shared_experts", "ffn_{}_shexp", config["n_shared_experts"] * inner, hidden)


def gguf_model_tensors(config: dict[str, Any], prediction: bool = False) -> list[ModelTensor]:
    """The tensors of a GGUF of the newer generation: the experts of a layer are stacks, the up-projections of keys
    (transposed) and values a stack of heads each."""
    heads, latent = config["num_attention_heads"], config["kv_lora_rank"]
    found: dict[str, ModelTensor] = {}
    for tensor in model_tensors(config, prediction):
        name = tensor.gguf_name
        if name.endswith("_exps.weight"):
            found[name] = ModelTensor(tensor.hf_name, name, (config["n_routed_experts"], *tensor.shape))
        elif name.endswith("attn_kv_b.weight"):
            for part, shape in (("k_b", (heads, latent, config["qk_nope_head_dim"])),
                                ("v_b", (heads, config["v_head_dim"], latent))):
                found[name.replace("kv_b", part)] = ModelTensor(f"{tensor.hf_name}.{part}",
                                                                name.replace("kv_b", part), shape)
        else:
            found[name] = tensor
    return list(found.values())


def add_metadata(writer: GgufWriter, config: dict[str, Any], old: bool, prediction: bool = False) -> None:
    """The architecture's keys, as llama.cpp's converters of 2024 (`old`) and 2025 write them."""
    scaling = rope_scaling(config)
    latent, rope = config["kv_lora_rank"], config["qk_rope_head_dim"]
    key, value = config["qk_nope_head_dim"] + rope, config["v_head_dim"]
    values = {"context_length": config["max_position_embeddings"], "embedding_length": config["hidden_size"],
              "block_count": config["num_hidden_layers"], "feed_forward_length": config["intermediate_size"],
              "attention.head_count": config["num_attention_heads"],
              "attention.head_count_kv": config["num_attention_heads"] if old else 1,
              "attention.layer_norm_rms_epsilon": float(config["rms_norm_eps"]),
              "rope.freq_base": float(config["rope_theta"]), "rope.dimension_count": rope,
              "vocab_size": config["vocab_size"], "leading_dense_block_count": config["first_k_dense_replace"],
              "attention.kv_lora_rank": latent,
              "attention.key_length": key if old else latent + rope,
              "attention.value_length": value if old else latent,
              "expert_count": config["n_routed_experts"], "expert_used_count": config["num_experts_per_tok"],
              "expert_shared_count": config["n_shared_experts"],
              "expert_feed_forward_length": config["moe_intermediate_size"],
              "expert_weights_scale": float(config["routed_scaling_factor"])}
    if prediction:
        values |= {"block_count": config["num_hidden_layers"] + 1, "nextn_predict_layers": 1}
    if config.get("q_lora_rank"):
        values["attention.q_lora_rank"] = config["q_lora_rank"]
    if config["norm_topk_prob"]:
        values["expert_weights_norm"] = True
    if not old or config["scoring_func"] != "softmax":
        values["expert_gating_func"] = GATING[config["scoring_func"]]
    if not old:
        values |= {"attention.key_length_mla": key, "attention.value_length_mla": value}
        if config.get("n_group"):
            values |= {"expert_group_count": config["n_group"], "expert_group_used_count": config["topk_group"]}
    if scaling["type"] == "yarn":
        values |= {"rope.scaling.type": "yarn", "rope.scaling.factor": float(scaling["factor"]),
                   "rope.scaling.original_context_length": scaling["original_max_position_embeddings"],
                   "rope.scaling.yarn_log_multiplier": 0.1 * scaling["mscale_all_dim"]}
        if not old:
            values |= {"rope.scaling.yarn_beta_fast": float(scaling["beta_fast"]),
                       "rope.scaling.yarn_beta_slow": float(scaling["beta_slow"])}
    for name, number in values.items():
        writer.add(f"deepseek2.{name}", number)
