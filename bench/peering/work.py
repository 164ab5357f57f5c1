"""What is measured: the model files, the runs (a process of each program each), and the rows of the table that they fill."""

import dataclasses

SHAPES = {"1.5B": "r1-distill-qwen-1.5b", "V2-Lite": "deepseek-v2-lite"}
FORMATS = {"Q4_0": ["--type", "q4_0"], "Q4_K_M": ["--mix", "q4_k_m", "--type", "q4_k"], "Q8_0": ["--type", "q8_0"]}
DEPTH = 4096


@dataclasses.dataclass(frozen=True)
class Model:
    shape: str  # of SHAPES
    format: str  # of FORMATS

    @property
    def file_name(self):
        return f"{SHAPES[self.shape]}-{self.format.lower()}.gguf"

    @property
    def make_arguments(self):
        return ["--shape", SHAPES[self.shape], *FORMATS[self.format]]


@dataclasses.dataclass(frozen=True)
class Run:
    """One process of each program and round."""
    name: str
    model: Model
    prompts: tuple = ()  # lengths, each without a past
    decode: int = 0  # tokens, at `depth`
    depth: int = 0
    sequences: int = 1
    first_token: bool = False  # only: from the start of the process to the end of one that gives one token


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of the table and its floor. `figure` is one of a measured run's (programs.py). share: of what hadal reaches a
    percentage, "read" or "roof". Times and memory are better when less; their floors are in seconds and as a ratio."""
    name: str
    run: str
    figure: str
    share: str = ""
    share_floor: float = 0.0
    peer_floor: float = 0.0
    unit: str = "tokens/s"

    @property
    def less_is_better(self):
        return self.unit != "tokens/s"


def _runs():
    runs = []
    for format in FORMATS:
        model = Model("1.5B", format)
        first = (8, 512) if format == "Q4_0" else (512,)
        runs.append(Run(f"short-{format}", model, prompts=first, decode=64))
        runs.append(Run(f"long-{format}", model, prompts=(2048,)))
    small, lite = Model("1.5B", "Q4_0"), Model("V2-Lite", "Q4_0")
    runs += [
        Run("depth", small, decode=32, depth=DEPTH),
        Run("batch", small, decode=32, sequences=32),
        Run("start", small, first_token=True),
        Run("lite", lite, prompts=(512,), decode=32),
        Run("lite-depth", lite, decode=32, depth=DEPTH),
    ]
    return {run.name: run for run in runs}


def _rows():
    rows = []
    for format in FORMATS:
        rows.append(Row(f"1.5B {format}, decode", f"short-{format}", "decode", "read", 85, 0.97))
    for tokens, run in ((512, "short"), (2048, "long")):
        for format in FORMATS:
            rows.append(Row(f"1.5B {format}, prefill {tokens}", f"{run}-{format}", f"prompt-{tokens}", "roof", 60, 1.2))
    return rows + [
        Row(f"1.5B Q4_0, decode at depth {DEPTH}", "depth", "decode", "roof", 80, 1.4),
        Row("1.5B Q4_0, decode of 32 together, sum", "batch", "decode", "roof", 55, 1.5),
        Row("V2-Lite Q4_0, decode", "lite", "decode", "read", 80, 1.1),
        Row("V2-Lite Q4_0, prefill 512", "lite", "prompt-512", "roof", 40, 2.5),
        Row(f"V2-Lite Q4_0, decode at depth {DEPTH}", "lite-depth", "decode", "roof", 65, 1.5),
        Row("1.5B Q4_0, time to first token, 512 tokens", "short-Q4_0", "first-token", unit="s"),
        Row("1.5B Q4_0, start to first token, warm", "start", "start", unit="s"),
        Row("1.5B Q4_0, peak memory / (file + cache)", "short-Q4_0", "memory", unit="x"),
        Row("V2-Lite Q4_0, peak memory / (file + cache)", "lite", "memory", unit="x"),
    ]


RUNS = _runs()
ROWS = _rows()
MEMORY_FLOOR = 1.25
FIRST_TOKEN_SLACK_S = 0.2  # over the floor of prefill 512
START_FLOOR_S = 1.0  # and a prompt of 8 tokens
