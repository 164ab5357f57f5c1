"""What a deepseek_v2 or deepseek_v3 model consists of, as architectures.py says it of the dense ones: tensors in a
Hugging Face folder and in a GGUF ("deepseek2"), the GGUF's keys, and the tensors transformers keeps in memory.

A GGUF has two generations: `old` holds keys and values up-projected by one tensor and states a head's widths; the newer
one has them apart, the keys' transposed, and states the widths of a cached row beside them.
"""

from typing import Any

import torch

from architectures import ModelTensor, rope_scaling
from gguf_writer import GgufWriter

GATING = {"softmax": 1, "sigmoid": 2}


def model_tensors(config: dict[str, Any]) -> list[ModelTensor]:
    """Every tensor of the folder, in the order of a forward pass. A GGUF name may stand for several: a stack."""
    hidden, vocabulary = config["hidden_size"], config["vocab_size"]
    tensors = [ModelTensor("model.embed_tokens.weight", "token_embd.weight", (vocabulary, hidden))]
    for number in range(config["num_hidden_layers"]):
        rows = attention(config)
        if number < config["first_k_dense_replace"]:
            rows += feed_forward("mlp", "ffn_{}", config["intermediate_size"], hidden)
        else:
            rows += experts(config)
        tensors += [ModelTensor(f"model.layers.{number}.{hf}", f"blk.{number}.{gguf}", shape)
                    for hf, gguf, shape in rows]
    return tensors + [ModelTensor("model.norm.weight", "output_norm.weight", (hidden,)),
                      ModelTensor("lm_head.weight", "output.weight", (vocabulary, hidden))]


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


def gguf_tensors(config: dict[str, Any], tensors: list[ModelTensor], weights: dict[str, torch.Tensor],
                 old: bool) -> dict[str, torch.Tensor]:
    stacks: dict[str, list[torch.Tensor]] = {}
    for tensor in tensors:
        stacks.setdefault(tensor.gguf_name, []).append(weights[tensor.hf_name])
    found = {}
    for name, parts in stacks.items():
        if name.endswith("_exps.weight"):
            found[name] = torch.stack(parts)
        elif name.endswith("attn_kv_b.weight") and not old:
            nope, value = config["qk_nope_head_dim"], config["v_head_dim"]
            both = parts[0].view(config["num_attention_heads"], nope + value, -1)
            found[name.replace("kv_b", "k_b")] = both[:, :nope].transpose(1, 2).contiguous()
            found[name.replace("kv_b", "v_b")] = both[:, nope:].contiguous()
        else:
            found[name] = parts[0]
    return found


def add_metadata(writer: GgufWriter, config: dict[str, Any], old: bool) -> None:
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


def transformers_weights(config: dict[str, Any], weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers 5 holds the experts of a layer as two stacks, gate and up in one."""
    found = {name: values for name, values in weights.items() if ".experts." not in name}
    for number in range(config["first_k_dense_replace"], config["num_hidden_layers"]):
        prefix = f"model.layers.{number}.mlp.experts."

        def part(expert: int, name: str) -> torch.Tensor:
            return weights[f"{prefix}{expert}.{name}_proj.weight"]

        every = range(config["n_routed_experts"])
        found[prefix + "gate_up_proj"] = torch.stack([torch.cat([part(e, "gate"), part(e, "up")]) for e in every])
        found[prefix + "down_proj"] = torch.stack([part(e, "down") for e in every])
    return found


def lowest_index_topk(values: torch.Tensor, k: int, dim: int = -1, **_: Any):
    """torch.topk leaves open which of equal values it takes; a stable sort takes those of the lowest index."""
    found = torch.sort(values, dim=dim, descending=True, stable=True)
    return torch.return_types.topk((found.values.narrow(dim, 0, k), found.indices.narrow(dim, 0, k)))


def narrowest_choice(config: dict[str, Any], model: torch.nn.Module, run) -> float:
    """The smallest difference, but for exact ties, between what a router just takes and just leaves, of groups and of
    experts, while `run()` runs the model: another device's rounding must not turn a choice."""
    gaps = []

    def watch(router, inputs, outputs):
        logits = outputs[0]
        values = logits.sigmoid() + router.e_score_correction_bias if "noaux_tc" == config["topk_method"] \
            else logits.softmax(-1)
        groups = config["n_group"] if config["topk_method"] != "greedy" and config.get("n_group") else 1
        if groups > 1:
            by_group = values.view(len(values), groups, -1)
            of_group = by_group.topk(2).values.sum(-1) if "noaux_tc" == config["topk_method"] else by_group.amax(-1)
            gaps.append(gap_after(of_group, config["topk_group"]))
            kept = torch.zeros_like(of_group).scatter_(1, of_group.topk(config["topk_group"]).indices, 1) > 0
            values = by_group.masked_fill(~kept.unsqueeze(-1), float("-inf")).flatten(1)
        gaps.append(gap_after(values, config["num_experts_per_tok"]))

    hooks = [m.register_forward_hook(watch) for m in model.modules() if type(m).__name__.endswith("TopkRouter")]
    run()
    for hook in hooks:
        hook.remove()
    return min(gaps)


def gap_after(values: torch.Tensor, count: int) -> float:
    ordered = values.sort(-1, descending=True).values
    if count >= ordered.shape[-1]:
        return float("inf")
    gaps = ordered[:, count - 1] - ordered[:, count]
    return float(gaps[gaps > 0].min())
