"""The weights of a deepseek_v2 or deepseek_v3 model as a GGUF and as transformers hold them, and how the router's choice
of the oracle is made definite.
"""

from typing import Any

import torch

from architectures import ModelTensor


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
