"""How `hadal serve` ends while answers are under way: who still hears what, and its exit status. On a model that takes its time."""

import json
import signal
import threading
import time

import pytest

from conftest import Hadal, real_model
from local_server import LocalServer

MODEL = "smollm2-135m-instruct"
MESSAGES = [{"role": "user", "content": "Tell me a very long story of the sea."}]
# Greedy: what is sampled may end after a word.
LONG = {"messages": MESSAGES, "max_tokens": 900, "temperature": 0}
OLLAMA = {"model": MODEL, "messages": MESSAGES, "options": {"num_predict": 900, "temperature": 0}}


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def serve(hadal, *options):
    return LocalServer(hadal, real_model(MODEL), "--context", "1024", *options)


def request_bytes(path, body):
    text = json.dumps(body)
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode()


def begun(server, path, body):
    """A connection whose streamed answer has begun."""
    connection = server.connect()
    connection.sendall(request_bytes(path, {**body, "stream": True}))
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(4096)
    return connection


def rest_of(connection):
    received = b""
    while piece := connection.recv(65536):
        received += piece
    connection.close()
    return received.decode()


def test_a_balancer_sees_the_end_while_answers_are_finished(hadal):
    server = serve(hadal)
    stream = begun(server, "/v1/chat/completions", {**LONG, "max_tokens": 200})
    server.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + 10
    while server.ask("GET", "/ready")[0] != 503:
        assert time.monotonic() < until
    status, headers, body = server.ask("GET", "/ready")
    assert status == 503 and "ending" in body["error"]["message"]
    assert server.ask("GET", "/health")[0] == 200
    for path, refused in ("/v1/chat/completions", LONG), ("/v1/messages", LONG), ("/api/chat", OLLAMA):
        status, headers, body = server.ask("POST", path, refused)
        assert status == 503 and int(headers["Retry-After"]) > 0 and "ending" in json.dumps(body)
    assert "data: [DONE]" in rest_of(stream)
    assert server.end() == 0, "a signal that comes while it ends changes nothing"
    with pytest.raises(OSError):
        server.connect()


# Each dialect's stream, and what its clients take for an error in it.
STREAMS = [("/v1/chat/completions", LONG, 'data: {"error"'), ("/v1/completions", {"prompt": "Once", "max_tokens": 900, "temperature": 0}, 'data: {"error"'),
           ("/v1/responses", {"input": MESSAGES[0]["content"], "max_output_tokens": 900, "temperature": 0}, "event: response.failed"),
           ("/v1/messages", {"model": MODEL, "messages": MESSAGES, "max_tokens": 900, "temperature": 0}, "event: error"), ("/api/chat", OLLAMA, '{"error"'),
           ("/api/generate", {"model": MODEL, "prompt": MESSAGES[0]["content"], "options": {"num_predict": 900, "temperature": 0}}, '{"error"')]


def test_what_the_drain_cuts_off_is_told(hadal):
    server = serve(hadal, "--drain", "0", "--parallel", "8")
    streams = [begun(server, path, body) for path, body, _ in STREAMS]
    whole = []
    asked = [threading.Thread(target=lambda path=path, body=body: whole.append(server.ask("POST", path, body)))
             for path, body in (("/v1/chat/completions", LONG), ("/api/chat", {**OLLAMA, "stream": False}))]
    for thread in asked:
        thread.start()
    until = time.monotonic() + 20
    while server.answers_under_way() < 8:
        assert time.monotonic() < until
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    for (path, _, error), stream in zip(STREAMS, streams):
        text = rest_of(stream)
        assert error in text and "cut off" in text.split(error)[-1], (path, text[-1000:])
        assert text.endswith("0\r\n\r\n"), (path, text[-100:])
    for thread in asked:
        thread.join()
    for status, headers, body in whole:
        assert status == 503 and int(headers["Retry-After"]) > 0 and "cut off" in json.dumps(body)
    assert len(whole) == 2
    assert server.end() == 1
    assert server.notes().count("8 answers were") == 1


def test_a_second_signal_cuts_off_what_is_left(hadal):
    server = serve(hadal)
    stream = begun(server, "/v1/chat/completions", LONG)
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGINT)
    assert "cut off" in rest_of(stream)
    assert server.end() == 1
    assert "1 answer was" in server.notes()
