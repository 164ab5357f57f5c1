"""The weights of a deepseek_v2 or deepseek_v3 model as a GGUF and as transformers hold them, and how the router's choice
of the oracle is made definite.
"""

from typing import Any

import numpy
import torch

import deepseek
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
    for number in range(config["num_hidden_layers"] + 1):
        if f"model.layers.{number}.mlp.gate.weight" not in weights:
            continue
        prefix = f"model.layers.{number}.mlp.experts."

        def part(expert: int, name: str) -> torch.Tensor:
            return weights[f"{prefix}{expert}.{name}_proj.weight"]

        every = range(config["n_routed_experts"])
        found[prefix + "gate_up_proj"] = torch.stack([torch.cat([part(e, "gate"), part(e, "up")]) for e in every])
        found[prefix + "down_proj"] = torch.stack([part(e, "down") for e in every])
    return found


PREDICTION_INPUT = (".enorm.weight", ".hnorm.weight", ".eh_proj.weight", ".shared_head.norm.weight")


def as_published(config: dict[str, Any], model: torch.nn.Module) -> None:
    """What the published code reads of the configuration and transformers does not: layers behind the dense ones that have
    no experts (moe_layer_freq), and V2's weights that are normalised instead of scaled (norm_topk_prob)."""
    dense = type(model.model.layers[0].mlp)
    for number, layer in enumerate(model.model.layers):
        if type(layer.mlp) is not dense and not deepseek.has_experts(config, number):
            layer.mlp = dense(model.config)
        elif type(layer.mlp) is not dense and config["model_type"] == "deepseek_v2" and config["norm_topk_prob"]:
            layer.mlp.gate.register_forward_hook(
                lambda router, inputs, out: (out[0], out[1] / (out[1].sum(-1, keepdim=True) + 1e-20), out[2]))


class Prediction(torch.nn.Module):
    """The layer that predicts one token further, of the equations of the paper (arXiv 2412.19437, section 2.2) on a decoder
    layer of transformers', which itself leaves it out. `model` has it as one layer more than the main model has.

        h' = M [norm(embedding(t[i + 1])); norm(h[i])],  logits = head(norm(layer(h')))

    h is what the main model's head is given: after the final norm (DeepSeek's published modeling code and engines that
    report how often it is right agree). The columns of M are in the order of published files, which is not the paper's.
    """

    def __init__(self, config: dict[str, Any], model: torch.nn.Module, weights: dict[str, torch.Tensor]):
        super().__init__()
        number = config["num_hidden_layers"]
        self.model, self.layer = model, model.model.layers[number]
        self.epsilon = config["rms_norm_eps"]
        names = ("enorm", "hnorm", "eh_proj", "shared_head.norm")
        self.enorm, self.hnorm, self.eh_proj, self.norm = (weights[f"model.layers.{number}.{n}.weight"] for n in names)

    def rms_norm(self, x: torch.Tensor, gain: torch.Tensor) -> torch.Tensor:
        return x / (x.square().mean(-1, keepdim=True) + self.epsilon).sqrt() * gain

    @torch.no_grad()
    def taps(self, tokens: list[int], hidden: torch.Tensor) -> dict[str, numpy.ndarray]:
        """hidden: [tokens, width]. A row for each token but the last, which nothing is known to follow."""
        base, count = self.model.model, len(tokens) - 1
        embedded = base.embed_tokens(torch.tensor(tokens[1:]))
        joined = torch.cat([self.rms_norm(embedded, self.enorm), self.rms_norm(hidden[:-1], self.hnorm)], -1)
        x = (joined @ self.eh_proj.T)[None]
        positions = torch.arange(count)[None]
        mask = torch.full((count, count), float("-inf")).triu(1)[None, None]
        y = self.layer(x, attention_mask=mask, position_ids=positions,
                       position_embeddings=base.rotary_emb(x, positions))
        normed = self.rms_norm(y, self.norm)
        found = {"draft.input": x, "draft.layer": y, "draft.norm": normed, "draft.logits": self.model.lm_head(normed)}
        return {name: values[0].float().numpy() for name, values in found.items()}


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
