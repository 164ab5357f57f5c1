"""hadal and its peers: how each is run and how its answer is read.

A measured run is a dictionary of figures: "decode" and "prompt-N" in tokens/s, "first-token" and "start" in seconds, "memory" in
bytes; of hadal also "decode-read", "decode-roof", "prompt-N-roof" in percent and the machine's speeds."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile

from .work import Run

HERE = pathlib.Path(__file__).resolve().parent
TIME_LIMIT_S = 1200
# What hadal says of the machine; an older one says less.
MACHINE = ("device_description", "instruction_set", "read_bytes_per_s", "peak_multiply_adds_per_s", "peak_multiply_adds_type",
           "attention_peak_multiply_adds_per_s", "attention_peak_multiply_adds_type")


@dataclasses.dataclass(frozen=True)
class Setting:
    """How processes are measured."""
    prefix: tuple = ()  # words before each command
    others_share_max: float = 0.05
    attempts: int = 3


class Failed(Exception):
    """A program cannot do a run; the message goes into the table."""


def execute(command, setting, environment=None):
    """What measured_process.py wrote; Failed with the program's last words otherwise. What ran while other programs took more than
    the setting's share of the processors is no measurement, and is tried again."""
    for _ in range(setting.attempts):
        measured = execute_once(command, setting.prefix, environment)
        if measured["others_share"] <= setting.others_share_max:
            return measured
    raise Failed(f"the machine was busy: other programs took {100 * measured['others_share']:.0f}% of its processors")


def execute_once(command, prefix, environment):
    with tempfile.TemporaryDirectory(prefix="hadal-peers-") as folder:
        result = pathlib.Path(folder) / "result.json"
        whole = [*prefix, sys.executable, str(HERE / "measured_process.py"), str(result), *map(str, command)]
        try:
            subprocess.run(whole, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL, timeout=TIME_LIMIT_S,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            raise Failed(f"took more than {TIME_LIMIT_S} s") from None
        if not result.exists():
            raise Failed("was ended from outside (by the prefix's time limit, or for want of memory)")
        measured = json.loads(result.read_text())
    if measured["status"] != 0:
        words = [line.strip() for line in measured["err"].splitlines() if line.strip()]
        raise Failed(f"ended with {measured['status']}: {words[-1][:160] if words else 'no message'}")
    return measured


class Hadal:
    name = "hadal"
    variants = ("",)

    def __init__(self, program, threads, instruction_set):
        self.program, self.threads = program, threads
        self.common = ["--threads", threads] + (["--instruction-set", instruction_set] if instruction_set else [])

    def measure(self, run: Run, model_path, variant, setting):
        if run.first_token:
            command = [self.program, "run", model_path, "abcdefgh", "--raw", "--max-tokens", 1, "--context", 64, *self.common]
            return {"start": execute(command, setting)["seconds"]}
        prompts = ",".join(map(str, run.prompts)) or "0"
        measured = execute([self.program, "bench", model_path, "--json", "-r", 1, "-p", prompts, "-n", run.decode, "-d", run.depth,
                            "--sequences", run.sequences, *self.common], setting)
        report = json.loads(measured["out"])
        context = max([*run.prompts, run.decode]) + run.depth + 1
        figures = {"machine": {name: report[name] for name in MACHINE if name in report}}
        if "kv_bytes_per_token" in report:
            figures |= {"memory": report["peak_memory_bytes"], "cache_bytes": report["kv_bytes_per_token"] * context * run.sequences}
        for row in report["rows"]:
            name = "decode" if row["kind"] == "decode" else f"prompt-{row['tokens']}"
            figures[name] = row["tokens_per_s"]["median"]
            for share, key in (("roof", "roof_percent"), ("read", "bandwidth_percent")):
                if key in row:
                    figures[f"{name}-{share}"] = row[key]
            if name == "prompt-512":
                figures["first-token"] = row["time_to_first_token_s"]["median"]
            if name == "prompt-8":
                figures["first-token-8"] = row["time_to_first_token_s"]["median"]
        return figures


class LlamaCpp:
    name = "llama.cpp"
    variants = ("fa on", "fa off")

    def __init__(self, build, threads):
        self.build, self.threads = build, threads

    def measure(self, run: Run, model_path, variant, setting):
        words = variant.split(", ")
        attention = words[0].removeprefix("fa ")
        repack = [] if "no repack" not in words else ["--repack", 0]
        if run.sequences > 1:
            return self._together(run, model_path, attention, setting)
        command = [self.build / "bin/llama-bench", "-m", model_path, "-t", self.threads, "-fa", attention, "-r", 1, "-o", "json",
                   "-n", run.decode, "-d", run.depth, *repack]
        if run.first_token:
            measured = execute([*command, "-p", 8, "--no-warmup"], setting)
            return {"start": measured["seconds"]}
        # A warm-up would compute the whole prompt once more; of a long one a short one before it does.
        long = max(run.prompts, default=0) > 512 or run.model.shape != "1.5B"
        prompts = (8, *run.prompts) if long and run.prompts else run.prompts
        measured = execute([*command, "-p", ",".join(map(str, prompts)) or "0", *(["--no-warmup"] if long else [])], setting)
        figures = {"memory": measured["peak_memory_bytes"]}
        for test in json.loads(measured["out"]):
            figures["decode" if test["n_gen"] else f"prompt-{test['n_prompt']}"] = test["avg_ts"]
        if "prompt-512" in figures:
            figures["first-token"] = 512 / figures["prompt-512"]
        return figures

    def _together(self, run, model_path, attention, setting):
        measured = execute([self.build / "bin/llama-batched-bench", "-m", model_path, "-t", self.threads, "-fa", attention,
                            "-npp", 1, "-ntg", run.decode, "-npl", run.sequences, "-c", 2 * run.sequences * (run.decode + 1),
                            "--output-format", "jsonl"], setting)
        lines = [json.loads(line) for line in measured["out"].splitlines() if line.startswith("{")]
        if not lines:
            raise Failed("printed no result")
        return {"decode": lines[-1]["speed_tg"], "memory": measured["peak_memory_bytes"]}


class OpenVino:
    name = "OpenVINO"
    variants = ("paged", "sdpa")  # attention

    def __init__(self, python, threads, instruction_set):
        self.python, self.threads = python, threads
        limit = {"avx2": "AVX2", "avx_vnni": "AVX2_VNNI", "avx512": "AVX512_CORE"}.get(instruction_set)
        self.environment = {"ONEDNN_MAX_CPU_ISA": limit} if limit else {}

    def measure(self, run: Run, model_path, variant, setting):
        if run.sequences > 1 and variant != "paged":
            raise Failed("answers several together with paged attention alone")
        job = {"threads": self.threads, "prompt": run.prompts, "decode": run.decode, "depth": run.depth, "sequences": run.sequences,
               "first_token": run.first_token, "attention": variant}
        measured = execute([self.python, HERE / "openvino_process.py", model_path, json.dumps(job)], setting, self.environment)
        report = json.loads(measured["out"].splitlines()[-1])
        if run.first_token:
            return {"start": report["start_to_first_token_s"]}
        figures = {"memory": measured["peak_memory_bytes"]}
        for tokens, prompt in report["prompt"].items():
            figures[f"prompt-{tokens}"] = prompt["tokens_per_s"]
            if tokens == "512":
                figures["first-token"] = prompt["first_token_s"]
        if "decode" in report:
            figures["decode"] = report["decode"]["tokens_per_s"]
        return figures
