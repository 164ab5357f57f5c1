"""One process of OpenVINO GenAI for bench/peers: loads a GGUF, measures, prints one JSON line. Runs in the peers' own virtual
environment: python peers_openvino.py MODEL.gguf '{"threads": 2, "prompt": [512], "decode": 64, "depth": 0, "sequences": 1,
"attention": "paged"}'

Prompts are token ids, each another's, so nothing is found in a cache. Figures are OpenVINO's own clock (perf_metrics): time to
first token, and the mean time of the tokens behind the first. Of several sequences its mean is over all their tokens, which come
together, so there a step is what a longer answer takes more than one of a single token."""

import json
import random
import sys
import time

BEGIN = time.monotonic()

import numpy
import openvino
import openvino_genai as genai

VOCABULARY = 100_000  # ids below it are ordinary tokens in every model measured


def pipeline(model, job):
    options = {"INFERENCE_NUM_THREADS": job["threads"], "PERFORMANCE_HINT": "LATENCY"}
    if job["attention"] == "sdpa":
        options["ATTENTION_BACKEND"] = "SDPA"
    if job["sequences"] > 1:
        scheduler = genai.SchedulerConfig()
        scheduler.max_num_seqs = job["sequences"]
        scheduler.cache_size = 1  # GB
        options["scheduler_config"] = scheduler
    return genai.LLMPipeline(model, "CPU", **options)


def prompt(generator, tokens, sequences=1):
    ids = numpy.array([[generator.randrange(VOCABULARY) for _ in range(tokens)] for _ in range(sequences)], dtype=numpy.int64)
    return genai.TokenizedInputs(openvino.Tensor(ids), openvino.Tensor(numpy.ones_like(ids)))


def generate(pipe, inputs, new_tokens):
    config = genai.GenerationConfig(max_new_tokens=new_tokens, min_new_tokens=new_tokens, ignore_eos=True, do_sample=False)
    return pipe.generate(inputs, config).perf_metrics


def seconds(pipe, inputs, new_tokens):
    begin = time.monotonic()
    generate(pipe, inputs, new_tokens)
    return time.monotonic() - begin


def main():
    model, job = sys.argv[1], json.loads(sys.argv[2])
    generator = random.Random(job.get("seed", 1))
    pipe = pipeline(model, job)
    result = {"load_s": time.monotonic() - BEGIN}
    if job.get("first_token"):
        generate(pipe, prompt(generator, 8), 1)
        result["start_to_first_token_s"] = time.monotonic() - BEGIN
        print(json.dumps(result), flush=True)
        return
    generate(pipe, prompt(generator, 8), 4)  # warm
    result["prompt"] = {}
    for tokens in job["prompt"]:
        first_token_s = generate(pipe, prompt(generator, tokens), 1).get_ttft().mean / 1e3
        result["prompt"][tokens] = {"tokens_per_s": tokens / first_token_s, "first_token_s": first_token_s}
    if job["decode"]:
        tokens = max(job["depth"], 1)
        sequences, steps = job["sequences"], job["decode"] - 1
        if sequences > 1:
            first_s, all_s = (seconds(pipe, prompt(generator, tokens, sequences), count) for count in (1, job["decode"]))
            step_s = (all_s - first_s) / steps
        else:
            step_s = generate(pipe, prompt(generator, tokens), job["decode"]).get_tpot().mean / 1e3
        result["decode"] = {"tokens_per_s": sequences / step_s}
    print(json.dumps(result), flush=True)


main()
