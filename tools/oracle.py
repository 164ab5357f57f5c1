"""The independent implementation the goldens come from: PyPI's transformers on torch, in float32 on the CPU.

Needs tools/requirements.txt (about 5.6 GB installed): a developer's machine, never a test run.
"""

from pathlib import Path

import numpy
import torch
from transformers import AutoModelForCausalLM


def load(path: Path):
    """A Hugging Face folder, or a GGUF file of an architecture transformers can read."""
    gguf = {"gguf_file": path.name} if path.suffix == ".gguf" else {}
    folder = path.parent if gguf else path
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", **gguf)
    return model.eval()


@torch.no_grad()
def taps(model, tokens: list[int]) -> dict[str, numpy.ndarray]:
    """What hadal's taps show, by name: "embedding", "layer.N" (the residual after layer N), "norm" (after the final
    norm), "logits"; each [tokens, width]."""
    found: dict[str, numpy.ndarray] = {}
    base = model.model

    def keep(name: str):
        def hook(_module, _inputs, output):
            found[name] = (output[0] if isinstance(output, tuple) else output)[0].float().numpy().copy()
        return hook

    hooks = [base.embed_tokens.register_forward_hook(keep("embedding")), base.norm.register_forward_hook(keep("norm"))]
    hooks += [layer.register_forward_hook(keep(f"layer.{n}")) for n, layer in enumerate(base.layers)]
    found["logits"] = model(torch.tensor([tokens]), use_cache=False).logits[0].float().numpy()
    for hook in hooks:
        hook.remove()
    names = ["embedding", *(f"layer.{n}" for n in range(len(base.layers))), "norm", "logits"]
    return {name: found[name] for name in names}


@torch.no_grad()
def greedy(model, tokens: list[int], count: int) -> list[int]:
    """The `count` tokens a greedy continuation adds; equal logits go to the lowest index."""
    tokens = list(tokens)
    for _ in range(count):
        tokens.append(int(model(torch.tensor([tokens]), use_cache=False).logits[0, -1].argmax()))
    return tokens[-count:]


@torch.no_grad()
def perplexity(model, tokens: list[int], bos: int | None, chunk: int = 512, report=lambda text: None) -> tuple[float, int]:
    """Perplexity as llama.cpp counts it, and the number of scored tokens.

    The text is cut into whole chunks of `chunk` tokens, a rest is dropped. In each, positions chunk/2 .. chunk-2 are
    scored on the token that follows them. Where the tokenizer adds a BOS, it stands before the text when that is cut,
    and takes the place of every chunk's first token when the chunk is run (`tokens` must then begin with it).
    """
    total, count = 0.0, 0
    for start in range(0, len(tokens) - chunk + 1, chunk):
        ids = tokens[start:start + chunk]
        fed = ids if bos is None else [bos] + ids[1:]
        logits = model(torch.tensor([fed]), use_cache=False).logits[0].double()
        first = chunk // 2
        losses = torch.nn.functional.cross_entropy(logits[first:-1], torch.tensor(ids[first + 1:]), reduction="sum")
        total, count = total + float(losses), count + chunk - 1 - first
        report(f"{count} tokens scored, perplexity {numpy.exp(total / count):.4f}")
    return float(numpy.exp(total / count)), count


def write_taps(folder: Path, tokens: list[int], arrays: dict[str, numpy.ndarray]) -> None:
    """tokens.txt (ids on one line) and NAME.npy, float32, for each tap."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokens.txt").write_text(" ".join(map(str, tokens)) + "\n")
    for name, array in arrays.items():
        numpy.save(folder / f"{name}.npy", numpy.ascontiguousarray(array, dtype=numpy.float32))
