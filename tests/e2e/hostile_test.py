"""What goes wrong in life: wrong files, full disks, no memory, a file cut while it is read. Always a sentence, never a signal."""

import gzip
import os
import random
import resource
import signal
import subprocess
import time

import pytest

from conftest import CRASH_WORDS, PROGRAM, TINY, real_model

KINDS = {
    "empty.gguf": (b"", "empty"),
    "pointer.gguf": (b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 98362432\n", "LFS"),
    "page.gguf": (b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>", "web page"),
    "packed.gguf": (gzip.compress(b"GGUF" * 100), "gzip"),
    "notes.gguf": (b"These are my notes about models.\n" * 20, "notes.gguf"),
    "magic.gguf": (b"GGUF", "magic.gguf"),
    "old.gguf": (b"GGUF" + (1).to_bytes(4, "little") + b"\0" * 64, "version 1"),
    "future.gguf": (b"GGUF" + (9).to_bytes(4, "little") + b"\0" * 64, "version 9"),
}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("command", ["run", "show"])
def test_what_is_no_model_is_named(hadal, tmp_path, command, name):
    content, word = KINDS[name]
    path = tmp_path / name
    path.write_bytes(content)
    hadal.fails(command, path, *(["hi"] if command == "run" else []), says=word)


def test_folders(hadal, tmp_path):
    hadal.fails("run", tmp_path, "hi", says="config.json")
    (tmp_path / "config.json").write_text("{")
    hadal.fails("run", tmp_path, "hi", says="config.json")
    (tmp_path / "config.json").write_text("[" * 100000)
    hadal.fails("run", tmp_path, "hi", says="config.json")
    hadal.fails("run", "/dev/null", "hi")
    unreadable = tmp_path / "secret.gguf"
    unreadable.write_bytes(TINY.read_bytes())
    unreadable.chmod(0)
    if os.geteuid() != 0:
        hadal.fails("run", unreadable, "hi", says="secret.gguf")


def test_unknown_architecture_is_named(hadal, tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(TINY.read_bytes().replace(b"llama", b"mamba", 1))
    hadal.fails("run", path, "hi", says="mamba")


def test_output_that_cannot_be_written(hadal, tmp_path):
    with open("/dev/full", "wb") as full:
        done = subprocess.run([PROGRAM, "run", TINY, "Once", "--max-tokens", "5"], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, env=hadal.environment, timeout=60)
    assert done.returncode == 1 and b"No space left" in done.stderr
    hadal.fails("eval", TINY, "--token-ids", "1 2 3", "--logits", "/dev/full", says="/dev/full")


def test_home_that_cannot_be_written(hadal):
    hadal.environment["HADAL_HOME"] = "/proc/nowhere"
    assert hadal("run", TINY, "Once", "--max-tokens", "3").returncode == 0
    hadal.fails("run", stdin="hi", says="/proc/nowhere")


@pytest.mark.parametrize("mebibytes", [64, 96, 160])
def test_little_address_space(hadal, mebibytes):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (mebibytes << 20, mebibytes << 20))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    done = hadal("run", TINY, "Once", "--max-tokens", "3", preexec_fn=limit)
    assert done.returncode in (0, 1)
    if done.returncode == 1:
        assert done.stderr.startswith(b"hadal: "), done.stderr


def test_model_that_does_not_fit_is_refused_before_loading(hadal):
    model = real_model("smollm2-135m-instruct")

    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (200 << 20, 200 << 20))
    begin = time.monotonic()
    done = hadal("run", model, "hi", "--context", "8192", preexec_fn=limit)
    assert done.returncode == 1 and time.monotonic() - begin < 5
    assert b"--context" in done.stderr or b"memory" in done.stderr, done.stderr


def test_random_damage(hadal, tmp_path):
    """A thousand damaged copies of a real file: a normal result, or a sentence and exit 1; within ten seconds and 6 GiB."""
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    original = TINY.read_bytes()
    rng = random.Random(20261122)
    path = tmp_path / "damaged.gguf"
    header = 16000  # most damage where it hurts: metadata and tensor infos
    for round_number in range(1000):
        damaged = bytearray(original)
        kind = round_number % 4
        if kind == 0:
            for _ in range(rng.choice([1, 3, 30])):
                damaged[rng.randrange(header)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            at = rng.randrange(header)
            damaged[at:at + 8] = rng.choice([b"\xff" * 8, b"\0" * 8, (1 << 62).to_bytes(8, "little"), rng.randbytes(8)])
        elif kind == 2:
            del damaged[rng.randrange(len(damaged)):]
        else:
            at, source = rng.randrange(header), rng.randrange(len(original) - 300)
            damaged[at:at + 200] = original[source:source + 200]
        path.write_bytes(damaged)
        done = hadal("run", path, "Once upon", "--max-tokens", "4", timeout=10, preexec_fn=limit)
        assert done.returncode in (0, 1), (round_number, done.stderr)
        if done.returncode == 1:
            assert done.stderr.startswith(b"hadal: "), (round_number, done.stderr)


def test_file_cut_while_it_runs(hadal, tmp_path):
    path = tmp_path / "cut.gguf"
    path.write_bytes(TINY.read_bytes())
    process = subprocess.Popen([PROGRAM, "run", path, "Once upon a time", "--temperature", "1", "--seed", "1", "--context", "512"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=hadal.environment)
    process.stdout.read(5)
    os.truncate(path, 4096)
    _, errors = process.communicate(timeout=20)
    assert process.returncode in (0, 1), (process.returncode, errors)  # 0: it was done before the cut
    if process.returncode == 1:
        assert b"cut.gguf" in errors


def test_interrupt_ends_a_single_answer(hadal):
    process = subprocess.Popen([PROGRAM, "run", TINY, "Once", "--temperature", "1", "--seed", "1"], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=hadal.environment)
    process.stdout.read(1)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode in (0, -signal.SIGINT, 130)


def test_prompt_that_is_far_too_long_is_refused_at_once(hadal):
    begin = time.monotonic()
    text = hadal.fails("run", TINY, stdin="word " * 200_000, says=["512", "context"])
    assert time.monotonic() - begin < 10
    assert any(int(word) > 200_000 for word in text.replace(",", " ").split() if word.isdigit()), text
