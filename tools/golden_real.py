#!/usr/bin/env python3
"""Goldens of a real model read from a GGUF: the chat prompt "What is the capital of France?" and a greedy answer.

OUTPUT/prompt.txt and greedy.txt hold the ids asked and answered, tokens.txt both; the .npy files are what transformers
computes for tokens.txt in float32, of every tap the last token's row alone, of the logits the last --logit-rows rows.
With --perplexity it prints the figure of a text instead.
"""

import argparse
from pathlib import Path

import numpy
from transformers import AutoTokenizer

import oracle

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY_TOKENS = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a GGUF file")
    parser.add_argument("output", type=Path, nargs="?", help="folder of the goldens")
    parser.add_argument("--logit-rows", type=int, default=2)
    parser.add_argument("--perplexity", type=Path, metavar="TEXT", help="perplexity of a text, chunks of 512 tokens")
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.model.parent, gguf_file=arguments.model.name)
    model = oracle.load(arguments.model)
    if arguments.perplexity:
        tokens = tokenizer(arguments.perplexity.read_text(), add_special_tokens=False)["input_ids"]
        value, scored = oracle.perplexity(model, tokens, bos=None, report=lambda text: print(text, flush=True))
        print(f"{len(tokens)} tokens, {scored} scored, perplexity {value:.4f}")
    if arguments.output:
        prompt = list(tokenizer.apply_chat_template(QUESTION, add_generation_prompt=True, return_dict=True)["input_ids"])
        answer = oracle.greedy(model, prompt, GREEDY_TOKENS)
        arrays = oracle.taps(model, prompt + answer)
        best_two = numpy.sort(arrays["logits"][len(prompt) - 1:-1], axis=1)[:, -2:]
        rows = {name: array[-(arguments.logit_rows if name == "logits" else 1):] for name, array in arrays.items()}
        oracle.write_taps(arguments.output, prompt + answer, rows)
        for name, ids in (("prompt", prompt), ("greedy", answer)):
            (arguments.output / f"{name}.txt").write_text(" ".join(map(str, ids)) + "\n")
        print(f"{tokenizer.decode(answer)!r}; logits {arrays['logits'].std():.2f} wide, "
              f"least margin of a greedy step {(best_two[:, 1] - best_two[:, 0]).min():.3f}")


if __name__ == "__main__":
    main()
