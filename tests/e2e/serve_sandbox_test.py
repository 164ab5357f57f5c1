"""What `hadal serve` has given up when it serves, and what it can do all the same. On the tiny model."""

import pathlib
import re
import shutil

import pytest

from conftest import TESTS, TINY, Hadal
from local_server import LocalServer


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def threads(server):
    for task in pathlib.Path(f"/proc/{server.process.pid}/task").iterdir():
        yield dict(re.findall(r"^(\w+):\s*(.*)$", (task / "status").read_text(), re.MULTILINE))


def complete(server, model, headers=None):
    return server.ask("POST", "/v1/completions", {"model": model, "prompt": "Once", "max_tokens": 4, "temperature": 0}, headers)[0]


def test_every_thread_has_given_up(hadal):
    with LocalServer(hadal, TINY) as server:
        assert complete(server, "stories260K") == 200
        states = list(threads(server))
        assert len(states) >= 4
        if "the sandbox lacks" in server.notes():
            pytest.skip(server.notes())
        assert all(state["NoNewPrivs"] == "1" and state["Seccomp"] == "2" for state in states)
    with LocalServer(hadal, TINY, "--no-sandbox", log=hadal.home.parent / "without.log") as server:
        assert all(state["Seccomp"] == "0" for state in threads(server))


def test_models_are_loaded_on_demand_and_keys_read_again(hadal, tmp_path):
    linked = tmp_path / "cache/snapshots/1"
    blobs = tmp_path / "cache/blobs"
    linked.mkdir(parents=True)
    blobs.mkdir()
    shutil.copy(TINY, blobs / "abcdef")
    (linked / "linked.gguf").symlink_to("../../blobs/abcdef")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(TINY, elsewhere / "other.gguf")
    with LocalServer(hadal, TINY, linked / "linked.gguf", elsewhere / "other.gguf", "--keep-alive", "1") as server:
        for _ in range(2):
            for model in ("linked", "other", "stories260K"):
                assert complete(server, model) == 200, server.notes()
        key = hadal("key", "add", "late").stdout.decode().strip()
        assert complete(server, "other") == 401
        assert complete(server, "other", {"x-api-key": key}) == 200
