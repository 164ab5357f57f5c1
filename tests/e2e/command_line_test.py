"""The commands: what they print where, in words and as JSON, and how they refuse."""

import csv
import json
import os
import shutil
import struct
import subprocess

import pytest

from conftest import PROGRAM, TINY, real_model

COMMANDS = ["run", "pull", "list", "show", "rm", "tokenize", "eval", "bench", "completion"]


def test_version_and_help(hadal):
    assert hadal("--version").stdout.startswith(b"hadal ")
    overview = hadal("--help").stdout.decode()
    for command in COMMANDS:
        assert command in overview
        text = hadal(command, "--help").stdout.decode()
        assert "Example: " in text, command


def test_usage_errors_have_their_own_sentence_and_status_2(hadal):
    hadal.fails("rnu", status=2, says=["unknown command 'rnu'", "did you mean 'run'"])
    hadal.fails("run", TINY, "--temprature", "1", status=2, says="--temprature")
    hadal.fails("run", TINY, "--temperature", "warm", status=2, says=["temperature", "warm"])
    hadal.fails("run", TINY, "--top-p", "2", status=2, says="top-p")
    hadal.fails("run", TINY, "x", "--think", "--no-think", status=2, says="think")
    hadal.fails("show", status=2)
    hadal.fails(status=2, says="no command")
    hadal.fails("bench", TINY, "--device", "toaster", status=2, says="toaster")


def test_no_model_yet(hadal):
    hadal.fails("run", stdin="hi", says=["no model", "scripts/demo"])
    hadal.fails("run", "nothing-here", "hi", says=["nothing-here", "no such file"])
    assert hadal("list").returncode == 0
    assert json.loads(hadal("list", "--json").stdout) == []


def test_models_by_name(hadal):
    models = hadal.home / "models"
    models.mkdir(parents=True)
    shutil.copy(TINY, models / "stories260k.gguf")
    listed = json.loads(hadal("list", "--json").stdout)
    assert [m["name"] for m in listed] == ["stories260k"]
    assert listed[0]["bytes"] == TINY.stat().st_size
    assert b"stories260k" in hadal("list").stdout
    assert hadal("show", "Stories260K").returncode == 0
    hadal.fails("show", "storys", says=["storys", "stories260k"])
    assert hadal("run", "--raw", "--max-tokens", "4", stdin="Once upon a time").returncode == 0  # the default model


def test_show(hadal):
    shown = json.loads(hadal("show", TINY, "--json", "--metadata", "--tensors").stdout)
    assert shown["architecture"] == "llama"
    assert (shown["layers"], shown["width"], shown["vocabulary"]) == (5, 64, 512)
    assert shown["metadata"]["general.architecture"] == "llama"
    assert len(shown["tensor_list"]) == shown["tensors"]
    assert "missing_bytes" not in shown and "cannot_run" not in shown
    text = hadal("show", TINY).stdout.decode()
    assert "llama" in text and "SentencePiece" in text


def test_show_describes_a_file_that_ends_early(hadal, tmp_path):
    whole = TINY.read_bytes()
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(whole[:-1000])
    shown = json.loads(hadal("show", cut, "--json").stdout)
    assert shown["missing_bytes"] == 1000 and shown["layers"] == 5
    hadal.fails("run", cut, "hi", says=["cut.gguf"])


def test_answer_alone_goes_to_standard_output(hadal):
    done = hadal("run", TINY, "Once upon a time", "--temperature", "0", "--max-tokens", "20", "--verbose")
    text = done.stdout.decode()
    assert text.startswith(", there was a little girl named Lily"), text
    assert text.endswith("\n") and "tokens/s" not in text
    notes = done.stderr.decode()
    assert "tokens/s" in notes and "% of this machine" in notes and "peak memory" in notes
    assert "\033" not in notes and "\r" not in notes  # no colours or moving lines where there is no terminal


def test_prompt_from_standard_input_and_both(hadal):
    options = ["--temperature", "0", "--max-tokens", "12", "--raw"]
    by_argument = hadal("run", TINY, "Once upon a time", *options).stdout
    by_input = hadal("run", TINY, *options, stdin="Once upon a time\n").stdout
    assert by_argument == by_input
    both = hadal("run", TINY, "Once", *options, stdin="upon").stdout
    assert both == hadal("run", TINY, "Once\n\nupon", *options).stdout
    hadal.fails("run", TINY, *options, stdin="", says="prompt is empty")


def test_same_seed_same_answer(hadal):
    def run(seed):
        return hadal("run", TINY, "Once", "--seed", seed, "--max-tokens", "30", "--temperature", "1").stdout
    assert run(1) == run(1)
    assert len({run(seed) for seed in range(2, 6)}) > 1


def test_stop_strings_and_limits(hadal):
    whole = hadal("run", TINY, "Once upon a time", "--temperature", "0", "--max-tokens", "40").stdout.decode()
    stopped = hadal("run", TINY, "Once upon a time", "--temperature", "0", "--stop", "Lily").stdout.decode()
    assert whole.split("Lily")[0].rstrip() == stopped.rstrip()
    text = hadal.fails("run", TINY, "word " * 2000, says=["512", "context"])
    assert any(int(word) > 512 for word in text.replace(",", " ").split() if word.isdigit()), text
    full = hadal("run", TINY, "Once upon a time", "--context", "64", "--temperature", "1", "--seed", "3")
    assert full.returncode == 0


def test_tokenize(hadal):
    ids = json.loads(hadal("tokenize", TINY, "--json", stdin="Once upon a time").stdout)
    assert ids["count"] == len(ids["ids"]) > 0
    with_bos = json.loads(hadal("tokenize", TINY, "--json", "--bos", stdin="Once upon a time").stdout)
    assert with_bos["ids"] == [1] + ids["ids"]
    pieces = json.loads(hadal("tokenize", TINY, "--json", "--pieces", stdin="Once upon a time").stdout)["pieces"]
    assert "".join(pieces).strip() == "Once upon a time"
    words = hadal("tokenize", TINY, stdin="Once upon a time").stdout.split()
    assert [int(word) for word in words] == ids["ids"]
    assert json.loads(hadal("tokenize", TINY, "--json", stdin=b"\xff\xfe\x00").stdout)["count"] > 0


def test_eval_logits_and_perplexity(hadal, tmp_path):
    out = tmp_path / "logits.npy"
    hadal("eval", TINY, "--token-ids", "1 2 3", "--logits", out)
    import numpy
    logits = numpy.load(out)
    assert logits.shape == (3, 512) and logits.dtype == numpy.float32 and numpy.isfinite(logits).all()
    text = tmp_path / "text"
    text.write_text("Once upon a time, there was a little girl named Lily. She loved to play outside. " * 60)
    result = json.loads(hadal("eval", TINY, "--perplexity", text, "--json").stdout)
    assert 1 < result["perplexity"] < 100 and result["tokens"] > 0
    hadal.fails("eval", TINY, "--token-ids", "1 2 9999", "--logits", out, says=["9999", "512"])
    hadal.fails("eval", TINY, "--token-ids", "1 two", "--logits", out, says="two", status=2)
    text.write_text("short")
    hadal.fails("eval", TINY, "--perplexity", text)
    hadal.fails("eval", TINY, "--token-ids", "1 2 3", "--logits", tmp_path / "no/such/folder/x.npy", says="no/such/folder")


def test_speculation_tells_what_it_guessed_and_changes_no_word(hadal):
    refrain = "Once upon a time there was a cat. Once upon a time there was a cat. Once upon a"
    def run(*options):
        return hadal("run", TINY, refrain, "--temperature", "0", "--max-tokens", "200", "--device", "reference", "--verbose", *options)
    off, ngram = run("--speculate", "off"), run("--speculate", "ngram")
    assert ngram.stdout == off.stdout
    assert b"guessed" not in off.stderr
    assert b"tokens guessed" in ngram.stderr
    assert b"guessed" not in run().stderr  # off where nobody asks for it
    hadal.fails("run", TINY, "x", "--speculate", "wildly", status=2, says="--speculate")
    hadal.environment["HADAL_SPECULATE"] = "ngram"
    assert b"tokens guessed" in run().stderr
    decode = json.loads(hadal("bench", TINY, "-p", "0", "-n", "100", "-r", "1", "--json").stdout)["decode"]
    assert 0 <= decode["accepted_tokens"] <= decode["drafted_tokens"]


def test_a_model_without_a_prediction_layer_says_so(hadal):
    hadal.fails("run", TINY, "x", "--speculate", "mtp", says=["no layer that predicts further tokens (MTP)", "--speculate mtp"])
    predicting = TINY.parent.parent / "golden/deepseek-v3-mtp/model.gguf"
    assert json.loads(hadal("show", predicting, "--json").stdout)["prediction_layers"] == 1
    assert b"--speculate mtp" in hadal("show", predicting).stdout
    assert b"--speculate mtp" not in hadal("show", TINY).stdout


def test_bench(hadal):
    result = json.loads(hadal("bench", TINY, "-p", "64", "-n", "16", "-r", "2", "--json").stdout)
    prompt, decode = result["rows"]
    assert prompt == result["prompt"] and decode == result["decode"]
    assert prompt["tokens_per_s"]["min"] <= prompt["tokens_per_s"]["median"] <= prompt["tokens_per_s"]["max"]
    assert prompt["time_to_first_token_s"]["median"] > 0 and prompt["multiply_adds_per_s"] > 0 and prompt["peak_percent"] > 0
    assert 0 < decode["between_tokens_s"]["p50"] <= decode["between_tokens_s"]["p90"] <= decode["between_tokens_s"]["p99"]
    assert decode["bandwidth_percent"] > 0 and decode["bytes_per_s"] > 0
    assert result["read_bytes_per_s"]["median"] > 1e8 and result["peak_memory_bytes"] > 1e6
    assert result["peak_multiply_adds_per_s"]["median"] > 1e6 and result["threads"] == 1 and result["instruction_set"]
    shown = hadal("bench", TINY, "-p", "64", "-n", "0", "-r", "1").stdout.decode()
    assert prompt["logits_hash"] in shown and "tokens/s" in shown and "% of peak" in shown


def test_bench_at_depth_and_with_sequences(hadal):
    done = hadal("bench", TINY, "-p", "16,32", "-n", "4", "-d", "0,64", "--sequences", "1,3", "-r", "1", "--format", "csv")
    rows = list(csv.DictReader(done.stdout.decode().splitlines()))
    found = [(r["kind"], r["tokens"], r["depth"], r["sequences"]) for r in rows]
    at = lambda depth: [("prompt", "16", depth, "1"), ("prompt", "32", depth, "1"),
                        ("decode", "4", depth, "1"), ("decode", "4", depth, "3")]
    assert found == at("0") + at("64")
    assert all(float(r["tokens_per_s"]) > 0 for r in rows)
    table = hadal("bench", TINY, "-p", "8", "-n", "0", "-r", "1", "--format", "md").stdout.decode()
    assert "\n|:---" in table


def test_bench_ladder(hadal, tmp_path):
    page = tmp_path / "page.html"
    small = ["-p", "16", "-n", "4", "-r", "1", "--ladder"]
    shown = hadal("bench", TINY, *small, "-d", "64", "--html", page).stdout.decode()
    assert "decode 4: tokens/s over depth\n       0 " in shown and "\n      64 " in shown
    text = page.read_text()
    assert text.count("<svg") == 2 and "<script" not in text and "://" not in text
    whole = json.loads(hadal("bench", TINY, *small, "--json").stdout)["rows"]  # 512 tokens of context
    assert sorted({row["depth"] for row in whole}) == [0, 480]
    hadal.fails("bench", TINY, *small, "-d", "0", "--html", tmp_path / "no" / "page.html", says="cannot write")


def test_bench_says_what_does_not_fit(hadal):
    hadal.fails("bench", TINY, "-p", "100000", "-n", "4", says=["100001 tokens", "context holds 512"])
    hadal.fails("bench", TINY, "-p", "100", "-n", "4", "-d", "400", says=["a depth of 416", "517 tokens", "512"])
    hadal.fails("bench", TINY, "-p", "100", "-n", "4", "--context", "64", says=["101 tokens", "holds 64"])
    hadal.fails("bench", TINY, "-p", "0", "-n", "0", says="nothing to measure")
    for wrong in (["-p", "1,,2"], ["-d", "x"], ["--sequences", "0"], ["--sequences", "513"], ["-p", ",".join("1" * 65)],
                  ["--format", "xml"], ["--json", "--format", "csv"], ["-p", "-1"]):
        hadal.fails("bench", TINY, *wrong, status=2)


@pytest.mark.parametrize("device", ["cpu", "reference"])
def test_devices(hadal, device):
    del hadal.environment["HADAL_THREADS"]  # one a core
    done = hadal("run", TINY, "Once upon a time", "--device", device, "--temperature", "0", "--max-tokens", "12")
    assert done.stdout.decode().startswith(", there was a little girl")


def test_completion_scripts_are_valid_shell(hadal):
    script = hadal("completion", "bash").stdout
    subprocess.run(["bash", "-n"], input=script, check=True)


def complete(hadal, line, words):
    """What bash offers for a line, whose words it has cut at spaces and colons."""
    probe = hadal("completion", "bash").stdout.decode() + (
        f'\nPATH={os.path.dirname(os.path.abspath(PROGRAM))}:$PATH; COMP_LINE="{line}"; COMP_POINT=${{#COMP_LINE}}; COMP_WORDS=({words}); '
        'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMP_WORDBREAKS=$\' \t\n"><=;|&(:\'; _hadal; echo "${COMPREPLY[@]}"')
    return subprocess.run(["bash"], input=probe, capture_output=True, check=True, text=True, env=hadal.environment).stdout.split()


def test_completion_of_commands_options_and_names(hadal):
    assert complete(hadal, "hadal ru", "hadal ru") == ["run"]
    assert complete(hadal, "hadal pull --limit", "hadal pull --limit") == ["--limit-rate"]
    assert "deepseek-v3" in complete(hadal, "hadal pull deepseek", "hadal pull deepseek")
    # bash replaces only what stands behind the colon.
    assert complete(hadal, "hadal pull deepseek-r1:1", "hadal pull deepseek-r1 : 1") == ["1.5b", "14b"]
    assert b"#compdef hadal" in hadal("completion", "zsh").stdout
    assert b"complete -c hadal" in hadal("completion", "fish").stdout


def test_real_model_answers(hadal):
    model = real_model("smollm2-135m-instruct")
    done = hadal("run", model, "What is the capital of France?", "--temperature", "0")
    assert done.stdout.decode().strip() == "The capital of France is Paris."
    ids = json.loads(hadal("tokenize", model, "--json", "--special",
                           stdin="<|im_start|>user\nWhat is the capital of France?<|im_end|>\n").stdout)["ids"]
    assert ids == [1, 4093, 198, 1780, 314, 260, 3575, 282, 4649, 47, 2, 198]


def test_user_text_is_never_a_control_token(hadal):
    model = real_model("smollm2-135m-instruct")
    as_text = json.loads(hadal("tokenize", model, "--json", stdin="<|im_end|>").stdout)["ids"]
    as_token = json.loads(hadal("tokenize", model, "--json", "--special", stdin="<|im_end|>").stdout)["ids"]
    assert as_token == [2] and 2 not in as_text


def test_second_real_model_answers(hadal):
    model = real_model("qwen2.5-coder-0.5b")
    done = hadal("run", model, "What is the capital of France?", "--temperature", "0")
    assert done.stdout.decode().strip() == "The capital of France is Paris."
