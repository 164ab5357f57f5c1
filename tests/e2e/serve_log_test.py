"""`hadal serve --access-log`: what stands in it, what never does, and that no disk holds up the server. On the tiny model."""

import json
import os
import signal
import subprocess
import time

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer

SECRET = "grandmothers-secret-recipe"


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


@pytest.fixture
def log(tmp_path):
    (tmp_path / "log").mkdir()
    return tmp_path / "log/access.log"


def lines(log, count, timeout=20):
    """So many, at least, but for those of waiting for the server: one is written when all is over, perhaps a moment after the answer."""
    until = time.monotonic() + timeout
    while True:
        text = log.read_text() if log.exists() else ""
        entries = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
        entries = [entry for entry in entries if entry["path"] != "/ready"]
        if len(entries) >= count:
            return entries
        assert time.monotonic() < until, text
        time.sleep(0.01)


def told(server, words, timeout=20):
    until = time.monotonic() + timeout
    while words not in " ".join(server.notes().split()):
        assert time.monotonic() < until and server.process.poll() is None, server.notes()
        time.sleep(0.01)


def metric(server, name):
    import urllib.request
    with urllib.request.urlopen(server.address + "/metrics") as reply:
        return next(float(line.split()[1]) for line in reply.read().decode().splitlines() if line.startswith(name + " "))


def test_a_line_for_each_request(hadal, log):
    key = hadal("key", "add", "laptop").stdout.decode().strip()
    bearer = {"Authorization": f"Bearer {key}"}
    prompt = {"prompt": SECRET, "temperature": 0, "max_tokens": 7}
    with LocalServer(hadal, TINY, "--access-log", log) as server:
        _, headers, body = server.ask("POST", f"/v1/completions?q={SECRET}", prompt, bearer)
        usage = body["usage"]
        asked = [("POST", "/v1/completions", 200, "laptop", usage["prompt_tokens"], 7)]
        entry, = lines(log, 1)
        assert entry["id"] == headers["X-Request-Id"] and entry["client"] == "127.0.0.1" and entry["complete"]
        assert 0 < entry["ms"] < 60_000
        for method, path, body, extra, *expected in [
                ("POST", "/v1/completions", {**prompt, "n": 3}, bearer, "/v1/completions", 200, "laptop", usage["prompt_tokens"], 21),
                ("POST", "/v1/completions", {**prompt, "prompt": [SECRET, SECRET], "n": 2}, bearer, "/v1/completions", 200, "laptop",
                 2 * usage["prompt_tokens"], 28),
                ("POST", "/v1/messages", {"messages": [{"role": "user", "content": SECRET}], "max_tokens": 5}, bearer, "/v1/messages", 200,
                 "laptop", None, 5),
                ("POST", "/api/embed", {"model": "stories260K", "input": SECRET}, bearer, "/api/embed", 200, "laptop", usage["prompt_tokens"], 0),
                ("POST", "/v1/completions", {**prompt, "max_tokens": -1}, bearer, "/v1/completions", 400, "laptop", 0, 0),
                ("POST", "/v1/completions", prompt, {"Authorization": f"Bearer {key[:-1]}"}, "/v1/completions", 401, "", 0, 0),
                ("GET", "/v1/models/stories260K", None, bearer, "/v1/models/*", 200, "laptop", 0, 0),
                ("GET", "/nowhere%20at%20all", None, bearer, "/nowhere at all", 404, "laptop", 0, 0)]:
            server.ask(method, path, body, extra)
            asked.append((method, *expected))
            lines(log, len(asked))
        server.raw(b"\0\x1b[31m nonsense\r\n\r\n")
        asked.append(("", "", 400, "", 0, 0))
        entries = lines(log, len(asked))
        for entry, expected in zip(entries, asked, strict=True):
            shown = tuple(entry[name] for name in ("method", "path", "status", "key", "prompt_tokens", "answer_tokens"))
            assert all(b in (None, a) for a, b in zip(shown, expected)), (shown, expected)
        assert len({entry["id"] for entry in entries}) == len(entries)
    text = log.read_text()
    assert SECRET not in text and key[6:20] not in text and "\x1b" not in text and text.endswith("\n")
    assert log.stat().st_mode & 0o007 == 0


def test_who_left_is_in_it_with_what_it_cost(hadal, log):
    with LocalServer(hadal, TINY, "--access-log", log) as server:
        body = json.dumps({"prompt": "Once", "max_tokens": 480, "n": 16, "ignore_eos": True, "stream": True}).encode()
        with server.connect() as connection:
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            received = b""
            while received.count(b"data: ") < 20:
                received += connection.recv(4096)
        entry, = lines(log, 1)
        assert entry["status"] == 200 and not entry["complete"] and 0 < entry["answer_tokens"] < 480 * 16


def test_moved_away_and_opened_again(hadal, log):
    """As logrotate does it, within the sandbox."""
    with LocalServer(hadal, TINY, "--access-log", log) as server:
        old = log.with_suffix(".log.1")
        log.rename(old)
        server.ask("GET", "/health")
        lines(old, 1)  # the open file goes along
        server.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 20
        while not log.exists():
            assert time.monotonic() < until, server.notes()
            time.sleep(0.01)
        server.ask("GET", "/v1/models")
        assert lines(log, 1)[0]["path"] == "/v1/models" and len(lines(old, 1)) == 1


def test_beside_other_files_it_cannot_be_opened_again(hadal, log):
    """The process may write no folder that has other things in it."""
    (log.parent / "letters").write_text("")
    with LocalServer(hadal, TINY, "--access-log", log) as server:
        if "sandbox lacks" in server.notes():
            pytest.skip("this kernel has no Landlock")
        old = log.with_suffix(".log.1")
        log.rename(old)
        server.process.send_signal(signal.SIGHUP)
        told(server, "the old file is kept")
        server.ask("GET", "/v1/models")
        assert lines(old, 1)[-1]["path"] == "/v1/models" and not log.exists()


def test_a_full_disk(hadal):
    with LocalServer(hadal, TINY, "--access-log", "/dev/full") as server:
        for _ in range(20):
            assert server.ask("GET", "/health")[0] == 200
        told(server, "No space left")
        until = time.monotonic() + 20
        while metric(server, "hadal:access_log_lines_lost_total") < 20:
            assert time.monotonic() < until
            time.sleep(0.01)
        assert server.notes().count("access log") == 1


def test_a_disk_that_fills_up_and_is_freed(hadal, log):
    """By the limit on a file's size, which would otherwise be a signal's end."""
    with LocalServer(hadal, TINY, "--access-log", log) as server:
        limit = f"--fsize={log.stat().st_size + 1000}:"
        subprocess.run(["prlimit", "--pid", str(server.process.pid), limit], check=True)
        for _ in range(20):
            assert server.ask("GET", "/health")[0] == 200
        told(server, "are lost")
        subprocess.run(["prlimit", "--pid", str(server.process.pid), "--fsize=unlimited:"], check=True)
        assert server.ask("GET", "/v1/models")[0] == 200
        told(server, "is written again")
    entries = log.read_text().splitlines()
    assert json.loads(entries[-1])["path"] == "/v1/models"
    assert all(line[:7] == '{"time"'[:len(line)] for line in entries), "one cut off, none glued to another"


def test_a_reader_that_never_reads(hadal):
    """Standard output, a pipe: full, and then the buffer, too."""
    reading, writing = os.pipe()
    with LocalServer(hadal, TINY, "--access-log", "-", stdout=writing) as server:
        os.close(writing)
        with server.connect() as connection:
            asked = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
            for _ in range(20):
                connection.sendall(asked)
                received = b""
                while received.count(b'{"status":"ok"}') < 500:
                    received += connection.recv(1 << 20)
        assert metric(server, "hadal:access_log_lines_lost_total") > 1000
        begun = time.monotonic()
        assert server.end() == 0 and time.monotonic() - begun < 10
    with os.fdopen(reading, "rb") as pipe:
        first = pipe.read(1000).splitlines()[0]
    assert json.loads(first)["method"] == "GET"


def test_what_cannot_be_opened_is_named(hadal, tmp_path):
    hadal.fails("serve", TINY, "--port", "0", "--access-log", tmp_path / "none/access.log", says="none/access.log")
    hadal.fails("serve", TINY, "--port", "0", "--access-log", tmp_path, says="cannot be opened")
