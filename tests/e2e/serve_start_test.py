"""How `hadal serve` begins: what it refuses, what it says, in which order, and that what it says can be pasted. On the tiny model."""

import json
import re
import signal
import socket
import subprocess
import time

import pytest

from conftest import CRASH_WORDS, PROGRAM, TINY, Hadal
from local_server import LocalServer
from serve_tls_test import certify, options_of


def paste(server, environment=None):
    """Runs the printed lines as a person would: (exit status, what came)."""
    lines = server.notes().split("Try", 1)[1].split(":\n", 1)[1]
    command = "\n".join(line for line in lines.splitlines() if line.startswith("  ") and not line.startswith("  ("))
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=60, env=environment)
    return done.returncode, done.stdout


def answers(server, **options):
    status, text = paste(server, **options)
    assert status == 0, text
    body = json.loads(text)
    assert body["choices"][0]["message"]["content"], body
    return body


@pytest.mark.parametrize("name", ["it's a model", 'a "quoted" \\ one', "$(reboot) `date` $HOME !!", "模型", "\x1b[31mred"])
def test_the_printed_line_can_be_pasted(hadal, tmp_path, name):
    model = tmp_path / f"{name}.gguf"
    model.write_bytes(TINY.read_bytes())
    with LocalServer(hadal, model, "--context", "512") as server:
        assert answers(server)["model"] == name
        assert "\x1b" not in server.notes()


def test_the_printed_line_wants_a_key_where_the_server_does(hadal):
    key = hadal("key", "add", "laptop").stdout.decode().strip()
    with LocalServer(hadal, TINY, "--context", "512") as server:
        assert "hadal key add" in server.notes()
        original = server.notes
        server.notes = lambda: original().replace("HADAL_KEY=hadal-...", f"HADAL_KEY={key}")
        answers(server)
        server.notes = original
        assert "no longer" in paste(server)[1], "the words stand for a key"


@pytest.mark.parametrize("host, shown", [("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("::1", "[::1]")])
def test_the_printed_address_works_from_here(hadal, host, shown):
    if ":" in host:
        try:
            socket.create_server((host, 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip(f"this machine has no {host}")
    with LocalServer(hadal, TINY, "--context", "512", "--host", host, "--open") as server:
        assert server.address.startswith(f"http://{shown}:")
        assert ("for others" in server.notes()) == (host != "::1")
        answers(server)


def test_the_printed_line_over_tls(hadal, tmp_path):
    folder = tmp_path / "it's here"
    folder.mkdir()
    mine = certify(folder, "mine")
    with LocalServer(hadal, TINY, "--context", "512", *options_of(mine), trust=mine[0]) as server:
        assert "--cacert" in server.notes() and " -k " not in server.notes()
        answers(server)
    other = folder / "other.crt", folder / "other.key"
    subprocess.run(["openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-keyout", other[1], "-out",
                    other[0], "-subj", "/CN=chat.example", "-addext", "subjectAltName=DNS:chat.example"], check=True, capture_output=True)
    server = LocalServer(hadal, TINY, "--context", "512", *options_of(other), trust=other[0], wait=False)
    server._find(r"(?s)hadal serves at .*Hello!")
    assert " -k " in server.notes() and "--cacert" not in server.notes()
    answers(server)
    assert server.end() == 0


def test_two_models_of_one_name_start_nothing(hadal, tmp_path):
    paths = [tmp_path / folder / "m.gguf" for folder in "ab"]
    for path in paths:
        path.parent.mkdir()
        path.write_bytes(TINY.read_bytes())
    both = [str(paths[0]), str(paths[1]), "'m'", "--port"]
    hadal.fails("serve", *paths, "--port", "0", says=both)
    config = tmp_path / "serve.json"
    config.write_text(json.dumps({"model": [str(path) for path in paths], "port": 0}))
    hadal.fails("serve", "--config", config, says=both)
    hadal.fails("serve", paths[0], paths[0], "--port", "0", says="twice")
    (tmp_path / "b/other.gguf").symlink_to(paths[1])
    with LocalServer(hadal, paths[0], tmp_path / "b/other.gguf", "--context", "512") as server:
        assert server.ask("POST", "/v1/completions", {"model": "other", "prompt": "Once", "max_tokens": 1})[0] == 200


def test_a_file_of_options_is_held_to_its_types(hadal, tmp_path):
    config = tmp_path / "serve.json"
    for text, says in [('{"open": "yes", "host": "0.0.0.0"}', ["open", "true or false", '"yes"']), ('{"port": "18090"}', ["port", "whole number"]),
                       ('{"port": 1, "port": 2}', ["port", "twice"]), ('{\n "port": 1,\n}', ["line 3, column 1"])]:
        config.write_text(text)
        hadal.fails("serve", TINY, "--config", config, says=["serve.json", *says])


def test_nothing_is_served_before_the_model_is_there(hadal, tmp_path):
    with LocalServer(hadal, TINY, "--context", "512") as server:
        notes = server.notes()
        assert notes.index("is bound") < notes.index("is loaded") < notes.index("hadal serves at") < notes.index("curl")


def test_a_model_that_does_not_load_is_said_once(hadal, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(TINY.read_bytes()[:100_000])
    said = hadal.fails("serve", broken, "--port", "0", says="broken.gguf")
    assert "serves at" not in said and "ending" not in said
    assert len(re.findall(r"^hadal: ", said, re.MULTILINE)) == 1, said


def test_a_taken_port_is_said_before_the_model_is_loaded(hadal, tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(TINY.read_bytes()[:100_000])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = hadal.fails("serve", broken, "--port", taken.getsockname()[1], says="taken")
        assert "broken" not in said


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_at_any_time_of_the_start(hadal, send):
    """Until the server heeds signals they end it as they end any program; then it ends by itself, with 0."""
    statuses = set()
    for pause in [0, 0.002, 0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.1, 0.15]:
        process = subprocess.Popen([PROGRAM, "serve", TINY, "--port", "0"], env=hadal.environment, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        time.sleep(pause)
        process.send_signal(send)
        notes = process.communicate(timeout=20)[1].decode()
        assert process.returncode in (0, -send), (pause, process.returncode, notes)
        assert not any(word in notes for word in CRASH_WORDS) and "hadal: " not in notes, notes
        statuses.add(process.returncode)
    assert 0 in statuses


def test_every_option_has_its_variable(hadal):
    listed = hadal("serve", "--help").stdout.decode()
    options = re.findall(r"^  --([a-z-]+)(.*)$", listed, re.MULTILINE)
    assert len(options) > 15
    for name, rest in options:
        assert f"(Env:HADAL_{name.upper().replace('-', '_')})" in rest, (name, rest)
    for variable, value in ("HADAL_PORT", "http"), ("HADAL_DRAIN", "-1"), ("HADAL_PARALLEL", "0"):
        environment = {**hadal.environment, variable: value}
        done = subprocess.run([PROGRAM, "serve", TINY], env=environment, capture_output=True, timeout=60)
        assert done.returncode == 2 and variable.removeprefix("HADAL_").lower().encode() in done.stderr.lower(), done.stderr
