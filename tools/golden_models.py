#!/usr/bin/env python3
"""Tiny random models of awkward sizes, each as a Hugging Face folder and as a GGUF, with what transformers computes.

OUTPUT/NAME/hf is the folder (no tokenizer), OUTPUT/NAME/model.gguf the same weights (not for FP8, which GGUF lacks),
OUTPUT/NAME/tokens.txt the ids, and embedding.npy, layer.N.npy, norm.npy, logits.npy what each step gives for them,
float32 [tokens, width]. Weights are rounded to the stored type first, so both files and the oracle hold the same numbers.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import AutoConfig, AutoModelForCausalLM

import architectures
import deepseek
import deepseek_oracle
import oracle
from gguf_writer import GgufWriter
from safetensors_writer import DTYPE_BYTES, Entry, write_folder

TOKENS = 45
FP8_BLOCK = 128
TORCH_TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "F8_E4M3": torch.float8_e4m3fn}
R1_0528_ATTN_FACTOR = 0.8782488562869419  # 1 / (0.1 ln 4 + 1): takes YaRN's own factor back


def shape(model_type: str, **values: Any) -> dict[str, Any]:
    classes = {"llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
               "deepseek_v2": "DeepseekV2ForCausalLM", "deepseek_v3": "DeepseekV3ForCausalLM"}
    bias = {} if model_type == "qwen2" else {"attention_bias": False}  # qwen2 has it by name alone
    return {"architectures": [classes[model_type]], "model_type": model_type, "hidden_act": "silu",
            "num_hidden_layers": 3, "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
            "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2, **bias, **values}


# name: (config.json, stored type of the matrices, bytes of a shard)
MODELS: dict[str, tuple[dict[str, Any], str, int]] = {
    "llama": (shape("llama", hidden_size=55, num_attention_heads=5, num_key_value_heads=1, head_dim=20,
                    intermediate_size=41, vocab_size=103, rms_norm_eps=1e-5), "F32", 1 << 30),
    "llama3-scaling-tied": (
        shape("llama", hidden_size=54, num_attention_heads=6, num_key_value_heads=2, head_dim=24, intermediate_size=69,
              vocab_size=127, tie_word_embeddings=True,
              rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                            "original_max_position_embeddings": 32}), "BF16", 1 << 30),
    "qwen2": (shape("qwen2", hidden_size=60, num_attention_heads=3, num_key_value_heads=1, intermediate_size=59,
                    vocab_size=149, rope_theta=1e6), "F16", 1 << 30),
    "qwen3-yarn-attn-factor": (
        shape("qwen3", hidden_size=54, num_attention_heads=9, num_key_value_heads=3, head_dim=16, intermediate_size=53,
              vocab_size=113, rope_scaling={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32,
                                            "attn_factor": R1_0528_ATTN_FACTOR}), "BF16", 60_000),
    "qwen3-yarn": (
        shape("qwen3", hidden_size=44, num_attention_heads=4, num_key_value_heads=2, head_dim=24, intermediate_size=61,
              vocab_size=101, rope_theta=None,
              rope_parameters={"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "beta_fast": 2.0,
                               "beta_slow": 0.5, "original_max_position_embeddings": 32}), "F32", 1 << 30),
    "qwen3-fp8": (
        shape("qwen3", hidden_size=132, num_attention_heads=6, num_key_value_heads=2, head_dim=24,
              intermediate_size=134, vocab_size=59, num_hidden_layers=2,
              quantization_config={"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                   "weight_block_size": [FP8_BLOCK, FP8_BLOCK]}), "F8_E4M3", 1 << 30),
    # As V2-Lite: no latent of the queries, greedy choice, two shared experts; YaRN far beyond the original context.
    "deepseek-v2-lite": (
        shape("deepseek_v2", hidden_size=45, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=None,
              kv_lora_rank=22, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=19, intermediate_size=37,
              moe_intermediate_size=11, n_routed_experts=7, num_experts_per_tok=3, n_shared_experts=2,
              first_k_dense_replace=1, moe_layer_freq=1, topk_method="greedy", scoring_func="softmax", n_group=1,
              topk_group=1, norm_topk_prob=False, routed_scaling_factor=1.0, vocab_size=101, max_position_embeddings=640,
              rope_scaling={"type": "yarn", "factor": 40, "original_max_position_embeddings": 16, "beta_fast": 32,
                            "beta_slow": 1, "mscale": 0.707, "mscale_all_dim": 0.707}), "BF16", 1 << 30),
    # As V2: the best groups by their best expert, scores scaled by 16; narrow values.
    "deepseek-v2-groups": (
        shape("deepseek_v2", hidden_size=40, num_attention_heads=5, num_key_value_heads=5, q_lora_rank=19,
              kv_lora_rank=34, qk_nope_head_dim=14, qk_rope_head_dim=8, v_head_dim=9, intermediate_size=43,
              moe_intermediate_size=13, n_routed_experts=12, num_experts_per_tok=4, n_shared_experts=1,
              first_k_dense_replace=1, moe_layer_freq=1, topk_method="group_limited_greedy", scoring_func="softmax",
              n_group=4, topk_group=2, norm_topk_prob=False, routed_scaling_factor=16.0, vocab_size=89), "F16", 50_000),
    # As V3: three dense layers, biased choice of groups by their two best, ties; inner norms keep their own epsilon.
    "deepseek-v3": (
        shape("deepseek_v3", hidden_size=36, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=21,
              kv_lora_rank=27, qk_nope_head_dim=12, qk_rope_head_dim=4, v_head_dim=11, intermediate_size=29,
              moe_intermediate_size=9, n_routed_experts=15, num_experts_per_tok=4, n_shared_experts=1,
              first_k_dense_replace=3, moe_layer_freq=1, topk_method="noaux_tc", scoring_func="sigmoid", n_group=5,
              topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, vocab_size=97, num_hidden_layers=5,
              rms_norm_eps=1e-2, num_nextn_predict_layers=1, max_position_embeddings=64,
              rope_scaling={"type": "yarn", "factor": 4, "original_max_position_embeddings": 16, "beta_fast": 4,
                            "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 1.0}), "BF16", 1 << 30),
    # As Moonlight: V3's choice without groups, V2-Lite's queries.
    "deepseek-v3-one-group": (
        shape("deepseek_v3", hidden_size=34, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=None,
              kv_lora_rank=16, qk_nope_head_dim=8, qk_rope_head_dim=10, v_head_dim=24, intermediate_size=31,
              moe_intermediate_size=10, n_routed_experts=9, num_experts_per_tok=2, n_shared_experts=2,
              first_k_dense_replace=1, moe_layer_freq=1, topk_method="noaux_tc", scoring_func="sigmoid", n_group=1,
              topk_group=1, norm_topk_prob=True, routed_scaling_factor=2.446, vocab_size=79, rope_theta=50000.0),
        "F32", 1 << 30),
    "deepseek-v3-fp8": (
        shape("deepseek_v3", hidden_size=132, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=34,
              kv_lora_rank=131, qk_nope_head_dim=30, qk_rope_head_dim=8, v_head_dim=23, intermediate_size=130,
              moe_intermediate_size=14, n_routed_experts=6, num_experts_per_tok=2, n_shared_experts=1,
              first_k_dense_replace=1, moe_layer_freq=1, topk_method="noaux_tc", scoring_func="sigmoid", n_group=2,
              topk_group=1, norm_topk_prob=True, routed_scaling_factor=2.5, vocab_size=61, num_hidden_layers=2,
              quantization_config={"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                   "weight_block_size": [FP8_BLOCK, FP8_BLOCK]}), "F8_E4M3", 1 << 30),
    # Experts in every second layer behind the first, weights of V2 that are normalised: in no published model, and
    # a GGUF cannot say it.
    "deepseek-v2-every-second": (
        shape("deepseek_v2", hidden_size=38, num_attention_heads=2, num_key_value_heads=2, q_lora_rank=13,
              kv_lora_rank=18, qk_nope_head_dim=10, qk_rope_head_dim=6, v_head_dim=13, intermediate_size=33,
              moe_intermediate_size=11, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
              first_k_dense_replace=1, moe_layer_freq=2, topk_method="group_limited_greedy", scoring_func="softmax",
              n_group=4, topk_group=2, norm_topk_prob=True, routed_scaling_factor=16.0, vocab_size=73,
              num_hidden_layers=4), "F32", 1 << 30),
    # As V3 with its prediction layer (MTP), which often guesses as the model does.
    "deepseek-v3-mtp": (
        shape("deepseek_v3", hidden_size=35, num_attention_heads=3, num_key_value_heads=3, q_lora_rank=17,
              kv_lora_rank=21, qk_nope_head_dim=9, qk_rope_head_dim=6, v_head_dim=12, intermediate_size=37,
              moe_intermediate_size=12, n_routed_experts=8, num_experts_per_tok=3, n_shared_experts=1,
              first_k_dense_replace=1, moe_layer_freq=1, topk_method="noaux_tc", scoring_func="sigmoid", n_group=4,
              topk_group=2, norm_topk_prob=True, routed_scaling_factor=2.5, vocab_size=67, num_hidden_layers=2,
              num_nextn_predict_layers=1, max_position_embeddings=256), "F32", 1 << 30),
}
PREDICTING = {"deepseek-v3-mtp"}
PREDICTING_SPREAD = 6  # of their embeddings, beside which layers change less: what follows can be guessed from a token
FOLDER_ALONE = {"deepseek-v2-every-second"}
OLD_GGUF = {"deepseek-v2-lite", "deepseek-v3-one-group"}  # of the generation before latents were cached
NARROWEST_CHOICE = 1e-4  # of a router: hundreds of times what float32 sums differ by


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path)
    parser.add_argument("--only", choices=MODELS, action="append", help="make this one alone (repeatable)")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for number, (name, (config, stored, shard_bytes)) in enumerate(MODELS.items()):
        if not arguments.only or name in arguments.only:
            seeds = ([arguments.seed, number, attempt] if attempt else [arguments.seed, number] for attempt in range(99))
            next(seed for seed in seeds
                 if make(arguments.output / name, config, stored, shard_bytes, numpy.random.default_rng(seed)))


def make(folder: Path, config: dict[str, Any], stored: str, shard_bytes: int, generator: numpy.random.Generator) -> bool:
    """False, with nothing written, if a router's choice is so narrow that rounding could turn it."""
    config = {key: value for key, value in config.items() if value is not None or key == "q_lora_rank"}
    is_deepseek = config["model_type"].startswith("deepseek")
    predicts = folder.name in PREDICTING
    tensors = deepseek.model_tensors(config, predicts) if is_deepseek else architectures.model_tensors(config)
    entries, weights = [], {}
    for tensor in tensors:
        values = random_values(tensor, config, predicts, generator)
        made, weights[tensor.hf_name] = store(tensor, values, stored, generator)
        entries += made
    if is_deepseek:  # types are mixed: the wider first, so that each tensor is aligned, as the library does it
        entries.sort(key=lambda entry: -DTYPE_BYTES[entry.dtype])
    tokens = generator.integers(0, config["vocab_size"], TOKENS).tolist()
    model = oracle_model(config, {name: values for name, values in weights.items()
                                  if not name.startswith(f"model.layers.{config['num_hidden_layers']}.")})
    arrays = {}
    if is_deepseek:
        torch.topk = deepseek_oracle.lowest_index_topk
        gap = deepseek_oracle.narrowest_choice(config, model, lambda: arrays.update(oracle.taps(model, tokens)))
        if predicts:
            more = oracle_model({**config, "num_hidden_layers": config["num_hidden_layers"] + 1}, weights)
            prediction = deepseek_oracle.Prediction(config, more, weights)
            hidden = torch.from_numpy(arrays["norm"])
            gap = min(gap, deepseek_oracle.narrowest_choice(
                config, prediction.layer, lambda: arrays.update(prediction.taps(tokens, hidden))))
        if gap < NARROWEST_CHOICE:
            return False
    else:
        arrays = oracle.taps(model, tokens)
    (folder / "hf").mkdir(parents=True, exist_ok=True)
    saved = {**config, "torch_dtype": "float32" if stored == "F32" else "float16" if stored == "F16" else "bfloat16"}
    (folder / "hf" / "config.json").write_text(json.dumps(saved, indent=2) + "\n")
    write_folder(folder / "hf", entries, shard_bytes)
    if stored != "F8_E4M3" and is_deepseek and folder.name not in FOLDER_ALONE:
        write_deepseek_gguf(folder / "model.gguf", config, tensors, weights, stored, folder.name in OLD_GGUF, predicts)
    elif not is_deepseek and stored != "F8_E4M3":
        write_gguf(folder / "model.gguf", config, tensors, weights, stored)
    oracle.write_taps(folder, tokens, arrays)
    print(f"{folder.name}: {sum(w.numel() for w in weights.values())} parameters, logits {arrays['logits'].std():.2f} wide")
    return True


def random_values(tensor: architectures.ModelTensor, config: dict[str, Any], predicts: bool,
                  generator: numpy.random.Generator):
    """Scales at which attention is sharp, layers change the residual, and an error anywhere shows in the logits."""
    values = generator.standard_normal(tensor.shape, dtype=numpy.float32)
    if tensor.kind == "exp_probs_b":  # most biased scores are negative; two experts tie wherever the input is
        values = values * 0.3 - 0.8
        values[[2, -1]] = values.max()
        return values
    if tensor.kind == "ffn_gate_inp":
        values *= 1.5 / tensor.shape[1] ** 0.5
        if config["model_type"] == "deepseek_v3":
            values[[2, -1]] = 0
        return values
    if tensor.hf_name.endswith(".bias"):
        return values * 0.3
    if len(tensor.shape) == 1:
        return 1 + values * 0.2
    if tensor.kind == "eh_proj":  # mostly the next token's embedding, so that guesses come true now and then
        values *= 0.4 / tensor.shape[1] ** 0.5
        return PREDICTING_SPREAD * (values + numpy.eye(*tensor.shape, dtype=numpy.float32))
    if tensor.kind == "token_embd":
        return values * (0.4 if config["tie_word_embeddings"] else PREDICTING_SPREAD if predicts else 1)
    wide = {"attn_q": 1.6, "attn_k": 1.6, "attn_q_b": 2, "attn_kv_b": 2, "output": 3}
    if tensor.kind == "ffn_down_exps":
        values = values * 3 / config["routed_scaling_factor"]
    return values * wide.get(tensor.kind, 1.2) / tensor.shape[1] ** 0.5


def store(tensor: architectures.ModelTensor, values: numpy.ndarray, stored: str,
          generator: numpy.random.Generator) -> tuple[list[Entry], torch.Tensor]:
    """The file's entries of one tensor, and its values as a reader gets them. Vectors of the 16-bit models are stored
    in 16 bits as well; beside FP8 matrices of the layers everything else is BF16, as DeepSeek publishes it."""
    if stored == "F8_E4M3" and len(tensor.shape) == 2 and tensor.layer is not None and tensor.kind != "ffn_gate_inp":
        return store_fp8(tensor, values, generator)
    dtype = "BF16" if stored == "F8_E4M3" else stored
    if tensor.kind == "exp_probs_b":
        dtype = "F32"
    rounded = torch.from_numpy(values).to(TORCH_TYPES[dtype])
    bits = rounded.view(torch.uint8 if dtype == "F32" else torch.int16).numpy()
    return [Entry(tensor.hf_name, dtype, tensor.shape, bits)], rounded.float()


def store_fp8(tensor: architectures.ModelTensor, values: numpy.ndarray,
              generator: numpy.random.Generator) -> tuple[list[Entry], torch.Tensor]:
    """value = f8 x scale of its 128x128 block; edge blocks are smaller."""
    grid = tuple(-(-n // FP8_BLOCK) for n in tensor.shape)
    scales = torch.from_numpy((0.002 + 0.01 * generator.random(grid)).astype(numpy.float32))
    spread = scales.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)[:tensor.shape[0], :tensor.shape[1]]
    rounded = (torch.from_numpy(values) / spread).to(torch.float8_e4m3fn)
    return [Entry(tensor.hf_name, "F8_E4M3", tensor.shape, rounded.view(torch.uint8).numpy()),
            Entry(tensor.hf_name + "_scale_inv", "F32", grid, scales.numpy())], rounded.float() * spread


def write_gguf(path: Path, config: dict[str, Any], tensors: list[architectures.ModelTensor],
               weights: dict[str, torch.Tensor], stored: str) -> None:
    writer = GgufWriter(config["model_type"])
    architectures.add_metadata(writer, config)
    if (factors := architectures.llama3_factors(config)) is not None:
        writer.add_tensor("rope_freqs.weight", "f32", factors.shape, factors)
    for tensor in tensors:
        values = architectures.to_gguf(config, tensor, weights[tensor.hf_name].numpy())
        dtype = stored if len(tensor.shape) == 2 else "F32"
        bits = torch.from_numpy(numpy.ascontiguousarray(values)).to(TORCH_TYPES[dtype])
        writer.add_tensor(tensor.gguf_name, dtype.lower(), tensor.shape, bits.view(torch.uint8).numpy())
    writer.write(path)


def write_deepseek_gguf(path: Path, config: dict[str, Any], tensors: list[architectures.ModelTensor],
                        weights: dict[str, torch.Tensor], stored: str, old: bool, predicts: bool) -> None:
    writer = GgufWriter("deepseek2")
    deepseek.add_metadata(writer, config, old, predicts)
    for name, values in deepseek_oracle.gguf_tensors(config, tensors, weights, old).items():
        dtype = stored if values.dim() > 1 and not name.endswith("ffn_gate_inp.weight") else "F32"
        writer.add_tensor(name, dtype.lower(), values.shape, values.to(TORCH_TYPES[dtype]).view(torch.uint8).numpy())
    writer.write(path)


def oracle_model(config: dict[str, Any], weights: dict[str, torch.Tensor]):
    config = json.loads(json.dumps(config))
    config.pop("quantization_config", None)
    if "attn_factor" in config.get("rope_scaling", {}):  # transformers does not know this key
        config["rope_scaling"]["attention_factor"] = 1.0
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config),
                                             dtype=torch.float32, attn_implementation="eager", experts_implementation="eager")
    if config.get("kv_lora_rank"):
        deepseek_oracle.as_published({**config, "model_type": model.config.model_type}, model)
        weights = {name: values for name, values in deepseek_oracle.transformers_weights(config, weights).items()
                   if not name.endswith(deepseek_oracle.PREDICTION_INPUT)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    if unexpected or [name for name in missing if name != "lm_head.weight" or not config["tie_word_embeddings"]]:
        raise SystemExit(f"transformers misses {missing}, does not know {unexpected}")
    model.tie_weights()
    return model.eval()


if __name__ == "__main__":
    main()
