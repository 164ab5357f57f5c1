"""The hubs' own Python clients (tests/requirements.txt) and hadal, against the same hub: each finds what the other fetched."""

import json
import os
import pathlib
import subprocess

import pytest

from conftest import TESTS, TINY, Hadal
from local_hub import LocalHub, git_sha1
from pull_test import REPOSITORY, hub, noise, pull, pulled, sha256, snapshot  # noqa: F401 (fixtures)

PYTHON = pathlib.Path(os.environ.get("HADAL_TEST_PYTHON", TESTS.parent / "build/python/bin/python3"))

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason=f"{PYTHON} is not there (scripts/test makes it where PyPI can be reached)")

FILES = {"tiny-F16.gguf": TINY.read_bytes(), "README.md": b"# tiny\n"}
FOLDER = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": noise(4000), "model.safetensors": noise(30000)}


def python(hadal, code, **environment):
    done = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=120,
                          env={**hadal.environment, "HOME": str(hadal.home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1",
                               "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1", **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_huggingface_hub_downloads_from_this_hub(pull, hub):
    hub.add(REPOSITORY, FILES)
    folder = python(pull, f"from huggingface_hub import snapshot_download; print(snapshot_download('{REPOSITORY}'))")
    assert {p.name: p.read_bytes() for p in pathlib.Path(folder).iterdir()} == FILES


def test_hadal_uses_what_huggingface_hub_fetched(pull, hub):
    hub.add(REPOSITORY, FILES)
    file = python(pull, f"from huggingface_hub import hf_hub_download; print(hf_hub_download('{REPOSITORY}', 'tiny-F16.gguf'))")
    pull.environment["HF_HUB_OFFLINE"] = "1"
    answer = pull("run", f"hf:{REPOSITORY}", "Once", "--raw", "--max-tokens", "3")
    assert answer.stdout
    assert [(m["name"], m["path"]) for m in pulled(pull)] == [(f"hf:{REPOSITORY}:f16", file)]
    del pull.environment["HF_HUB_OFFLINE"]
    sent = hub.sent
    assert "is here already" in pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert hub.sent == sent, "not a byte of it is fetched again"
    pull("rm", f"hf:{REPOSITORY}")
    assert pathlib.Path(file).exists(), "it was the other program's"


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["gguf", "folder"])
def test_huggingface_hub_finds_what_hadal_fetched(pull, hub, files):
    hub.add(REPOSITORY, files)
    pull("pull", f"hf:{REPOSITORY}")
    sent, asked = hub.sent, len(hub.requests)
    wanted = [f for f in files if f != "README.md"]
    offline = python(pull, "from huggingface_hub import hf_hub_download, snapshot_download, try_to_load_from_cache, scan_cache_dir\n"
                     f"for name in {wanted}: print(hf_hub_download('{REPOSITORY}', name))\n"
                     f"print(snapshot_download('{REPOSITORY}'))\n"
                     "info = scan_cache_dir()\n"
                     "assert not info.warnings, info.warnings\n"
                     "print(info.size_on_disk)", HF_HUB_OFFLINE="1").splitlines()
    assert [pathlib.Path(p).read_bytes() for p in offline[:len(wanted)]] == [files[f] for f in wanted]
    assert offline[-2] == str(snapshot(pull, hub)) and int(offline[-1]) == sum(len(files[f]) for f in wanted)
    assert len(hub.requests) == asked
    # Online it asks, and fetches only what hadal did not need.
    python(pull, f"from huggingface_hub import snapshot_download; snapshot_download('{REPOSITORY}')")
    assert hub.sent - sent == sum(len(files[f]) for f in files if f not in wanted)


def test_both_at_once_fetch_the_bytes_once(pull, hub):
    content = noise(3_000_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.rate = 400_000
    code = f"from huggingface_hub import hf_hub_download; hf_hub_download('{REPOSITORY}', 'm-Q8_0.gguf')"
    client = subprocess.Popen([PYTHON, "-c", code], env={**pull.environment, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1"},
                              stderr=subprocess.DEVNULL)
    while hub.sent < 200_000:
        assert client.poll() is None
    text = pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert client.wait(60) == 0
    assert "Another program is fetching" in text and hub.sent == len(content), (text, hub.sent)


@pytest.mark.parametrize("files", [FILES, FOLDER], ids=["gguf", "folder"])
def test_modelscope_downloads_what_hadal_downloads(pull, hub, files):
    hub.add(REPOSITORY, files)
    pull("pull", f"ms:{REPOSITORY}")
    ours = pathlib.Path(pulled(pull)[0]["path"])
    pull("rm", f"ms:{REPOSITORY}")
    folder = python(pull, f"from modelscope.hub.snapshot_download import snapshot_download; print(snapshot_download('{REPOSITORY}'))",
                    MODELSCOPE_LOG_LEVEL="40").splitlines()[-1]
    assert all((pathlib.Path(folder) / name).read_bytes() == content for name, content in files.items())
    sent = hub.sent
    text = pull("pull", f"ms:{REPOSITORY}").stderr.decode()
    assert "ModelScope's cache" in text and hub.sent == sent, text
    assert pulled(pull)[0]["path"].startswith(folder)
    assert not ours.exists()
