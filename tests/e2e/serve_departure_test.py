"""Clients that leave: whatever they asked for, in whatever phase it is and however they go, it ends at once and its memory comes back.
And those that only end their half of the connection: they still get their whole answer, and nothing in it that is not theirs.

On the tiny model, made to go on for as long as it is let: a context of a million tokens and an end token that it never writes.
"""

import itertools
import json
import re
import socket
import ssl
import struct
import threading
import time
import urllib.request

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer
from serve_tls_test import certify

AT_ONCE_SECONDS = 1
CONTEXT = 100_000
LONG_PROMPT = "Once upon a time there was a little girl. " * 4000
FOREVER = 90_000

MESSAGES = {"messages": [{"role": "user", "content": None}]}
# name -> path, body, where the prompt and the length of the answer go. Embeddings are all prompt, and never a stream.
DIALECTS = {
    "openai-chat": ("/v1/chat/completions", MESSAGES, "messages", "max_tokens"),
    "openai-completion": ("/v1/completions", {}, "prompt", "max_tokens"),
    "openai-responses": ("/v1/responses", {}, "input", "max_output_tokens"),
    "anthropic": ("/v1/messages", MESSAGES, "messages", "max_tokens"),
    "ollama-chat": ("/api/chat", MESSAGES, "messages", "num_predict"),
    "ollama-generate": ("/api/generate", {"raw": True}, "prompt", "num_predict"),
    "openai-embedding": ("/v1/embeddings", {}, "input", None),
    "ollama-embedding": ("/api/embed", {}, "input", None),
}
numbers = itertools.count(1)
CHATS = [name for name in DIALECTS if "embedding" not in name]


def patched(data, key, value):
    at = data.index(key.encode()) + len(key)
    assert struct.unpack_from("<I", data, at) == (4,), "a uint32"
    return data[:at + 4] + struct.pack("<I", value) + data[at + 8:]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("endless") / "endless.gguf"
    data = patched(TINY.read_bytes(), "llama.context_length", 1_000_000)
    for end in "eos", "eot":
        data = patched(data, f"tokenizer.ggml.{end}_token_id", 0)
    path.write_bytes(data)
    return path


def start(folder, model, *more, **options):
    return LocalServer(Hadal(folder / "home"), model, "--context", CONTEXT, "--parallel", "1", *more, **options)


@pytest.fixture(scope="module")
def server(tmp_path_factory, model):
    with start(tmp_path_factory.mktemp("departures"), model) as running:
        yield running


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory, model):
    folder = tmp_path_factory.mktemp("departures-tls")
    certificate, key = certify(folder, "hadal")
    with start(folder, model, "--tls-certificate", certificate, "--tls-key", key, trust=certificate) as running:
        yield running


def request(dialect, stream, version=1, prompt="Once upon a time", tokens=FOREVER):
    path, fields, prompt_field, length_field = DIALECTS[dialect]
    body = {"model": "endless", **fields}
    body[prompt_field] = [{"role": "user", "content": prompt}] if prompt_field == "messages" else prompt
    if length_field == "num_predict":
        body["options"] = {"num_predict": tokens, "temperature": 0}
    elif length_field:
        body.update({length_field: tokens, "temperature": 0})
    if length_field:
        body["stream"] = stream
    text = json.dumps(body).encode()
    return b"POST %s HTTP/1.%d\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % (path.encode(), version, len(text)) + text


class Figures:
    def __init__(self, server):
        with urllib.request.urlopen(server.address + "/metrics", timeout=30, context=server.tls) as reply:
            text = reply.read().decode()
        self.values = {name: float(value) for name, value in re.findall(r"^hadal:(\w+)\{[^}]*\} (\S+)$", text, re.MULTILINE)}

    def __getattr__(self, name):
        return self.values[name]

    def is_idle(self):
        return self.num_requests_running == self.num_requests_waiting == self.kv_cache_usage_perc == 0


def wait_until(server, condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition(figures := Figures(server)):
        assert time.monotonic() < until, (what, figures.values)
        time.sleep(0.01)


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def close(connection):
    connection.close()


def end_both_halves(connection):
    """With nothing left unread, so that its own system has no reason to complain when it leaves."""
    connection.shutdown(socket.SHUT_WR)
    time.sleep(0.05)
    connection.setblocking(False)
    try:
        while connection.recv(1 << 16):
            pass
    except BlockingIOError:
        pass
    connection.close()


def begun(server, connection, stream, phase):
    """Waits until the answer, which nothing ends, is in this phase."""
    if phase == "answer":
        wait_until(server, lambda now: now.num_requests_running == 1, 20, "it is not computed")
        if stream:
            assert connection.recv(7) == b"HTTP/1."
        time.sleep(0.05)
    elif phase == "prompt":
        before = Figures(server).step_tokens_total
        wait_until(server, lambda now: now.num_requests_running == 1 and now.step_tokens_total > before, 20, "it is not computed")
    else:
        wait_until(server, lambda now: now.num_requests_waiting == 1, 20, "it does not wait")


def leaves(server, dialect, stream, version, phase, leave):
    """Asks, goes away in this phase; how long it took until nothing was left of it."""
    wait_until(server, Figures.is_idle, 20, "there is something left of another test")
    with server.connect() if phase == "queue" else socket.socket() as other:
        if phase == "queue":  # behind one that does not end
            other.sendall(request("openai-completion", stream=True))
            wait_until(server, lambda now: now.num_requests_running == 1, 20, "the other is not computed")
        connection = server.connect()
        # None continues another's, which would be in the cache: deep in a text each step takes long.
        prompt = f"{next(numbers)}. {LONG_PROMPT}" if phase == "prompt" else "Once"
        connection.sendall(request(dialect, stream, version, prompt))
        begun(server, connection, stream, phase)
        begin = time.monotonic()
        leave(connection)
        if phase == "queue":
            wait_until(server, lambda now: now.num_requests_waiting == 0, 20, "it waits on")
            assert Figures(server).num_requests_running == 1, "the other goes on"
        else:
            wait_until(server, Figures.is_idle, 20, "it goes on")
        seconds = time.monotonic() - begin
    return seconds


def test_answers_would_go_on(server):
    """For much longer than those who leave are given."""
    with server.connect() as connection:
        connection.sendall(request("ollama-chat", stream=False))
        begun(server, connection, False, "answer")
        time.sleep(3 * AT_ONCE_SECONDS)
        assert Figures(server).num_requests_running == 1 and Figures(server).kv_cache_usage_perc > 0
    wait_until(server, Figures.is_idle, 20, "it goes on")


KINDS = [(dialect, stream) for dialect in CHATS for stream in (False, True)]


@pytest.mark.parametrize("phase, kinds", [("answer", KINDS), ("prompt", KINDS + [("openai-embedding", False), ("ollama-embedding", False)]),
                                          ("queue", KINDS + [("openai-embedding", False), ("ollama-embedding", False)])])
def test_who_leaves_is_not_computed_for(server, phase, kinds):
    late = []
    for (dialect, stream), version, leave in itertools.product(kinds, (0, 1), (reset, close)):
        seconds = leaves(server, dialect, stream, version, phase, leave)
        if seconds > AT_ONCE_SECONDS:
            late.append((dialect, stream, f"HTTP/1.{version}", leave.__name__, seconds))
    assert not late


def test_who_ends_its_half_and_leaves_later(server):
    """Only what is sent to it tells: that is done again and again, soon at first."""
    late = []
    for (dialect, stream), version in itertools.product(KINDS, (0, 1)):
        seconds = leaves(server, dialect, stream, version, "answer", end_both_halves)
        if seconds > 2 * AT_ONCE_SECONDS:
            late.append((dialect, stream, f"HTTP/1.{version}", seconds))
    assert not late


def test_who_leaves_over_tls(tls_server):
    def goes_politely(connection):
        try:
            connection.setblocking(False)
            connection.unwrap()
        except (ssl.SSLWantReadError, OSError, ssl.SSLError):
            pass
        connection.close()

    late = []
    for (dialect, stream), version, leave in itertools.product(KINDS, (0, 1), (reset, close, goes_politely)):
        seconds = leaves(tls_server, dialect, stream, version, "answer", leave)
        if seconds > AT_ONCE_SECONDS:
            late.append((dialect, stream, f"HTTP/1.{version}", leave.__name__, seconds))
    assert not late


def read_all(connection):
    received = b""
    while piece := connection.recv(1 << 16):
        received += piece
    return received


def body_of(answer):
    """What a client reads: of chunks, what is in them, each length as HTTP's grammar has it."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert re.match(rb"HTTP/1\.[01] 200 OK\r\n", head), answer
    if b"\r\nTransfer-Encoding: chunked" not in head:
        return rest
    body, at = [], 0
    while True:
        end = rest.index(b"\r\n", at)
        assert re.fullmatch(rb"[0-9a-f]+", rest[at:end]), answer
        size, at = int(rest[at:end], 16), end + 2
        if size == 0:
            assert rest[at:] == b"\r\n"
            return b"".join(body)
        body.append(rest[at:at + size])
        at += size + 2
        assert rest[at - 2:at] == b"\r\n"


TEXT_KEYS = {"text", "content", "delta", "response", "output_text"}


def texts(value):
    """All that the answer says, wherever the dialect puts it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in TEXT_KEYS and isinstance(inner, str):
                yield inner
            else:
                yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)


def said(dialect, stream, answer):
    body = body_of(answer).decode()
    if not stream:
        values = [json.loads(body)]
    elif dialect.startswith("ollama"):
        assert body.endswith("\n") and body[:-1].count("\n") == len(body.splitlines()) - 1
        values = [json.loads(line) for line in body.splitlines()]
        assert values[-1]["done"]
    else:
        events = body.split("\n\n")
        assert events.pop() == ""
        lines = [line for event in events for line in event.splitlines()]
        assert all(line.startswith((":", "event: ", "data: ")) for line in lines), body
        values = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    return list(texts(values))


@pytest.mark.parametrize("dialect, stream", KINDS)
def test_who_ends_its_half_gets_its_answer(server, dialect, stream):
    """The same as who does not, whenever it does; while the answer takes long enough to be asked whether anybody reads it."""
    for version in 0, 1:
        answers = []
        for when in "never", "at once", "later":
            with server.connect() as connection:
                connection.settimeout(20)
                short = request(dialect, stream, version, tokens=600)
                connection.sendall(short.replace(b"\r\nHost", b"\r\nConnection: close\r\nHost", 1))
                beginning = b""
                if when == "later" and stream:
                    beginning = connection.recv(500)
                elif when == "later":
                    time.sleep(0.1)
                if when != "never":
                    connection.shutdown(socket.SHUT_WR)
                answers.append(said(dialect, stream, beginning + read_all(connection)))
        assert len("".join(answers[0])) > 900 and answers[1] == answers[0] == answers[2]


def test_a_crowd_that_leaves_at_once(server):
    """A hundred, of all kinds, most of them in the queue."""
    connections = []
    for number, (dialect, stream) in zip(range(100), itertools.cycle(KINDS)):
        connections.append(server.connect())
        connections[-1].sendall(request(dialect, stream, number % 2))
    wait_until(server, lambda now: now.num_requests_waiting == 99, 60, "they are not all there")
    begin = time.monotonic()
    threads = [threading.Thread(target=leave, args=(connection,)) for connection, leave in zip(connections, itertools.cycle((reset, close)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(server, Figures.is_idle, 20, "some go on")
    assert time.monotonic() - begin < 2 * AT_ONCE_SECONDS
