"""`hadal serve` as HTTP: limits, hostile bytes, clients that leave, loading and ending. On the tiny model."""

import json
import signal
import socket
import threading
import time

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer


@pytest.fixture(scope="module")
def hadal(tmp_path_factory):
    return Hadal(tmp_path_factory.mktemp("serve") / "home")


@pytest.fixture(scope="module")
def server(hadal):
    with LocalServer(hadal, TINY, "--context", "512", "--parallel", "4", "--queue", "8") as running:
        yield running


def complete(server, prompt="Once upon a time", **fields):
    return server.ask("POST", "/v1/completions", {"prompt": prompt, "temperature": 0, "max_tokens": 20, **fields})


def request_bytes(body, path="/v1/completions", headers=""):
    text = json.dumps(body)
    return (f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{headers}Content-Length: {len(text)}\r\n\r\n{text}").encode()


def test_says_where_and_how(server):
    notes = server.notes()
    assert f"curl {server.address}/v1/chat/completions" in notes
    assert "is loaded" in notes


def test_health_and_models(server):
    assert server.ask("GET", "/health")[::2] == (200, {"status": "ok"})
    assert server.ask("GET", "/ready")[0] == 200
    status, _, models = server.ask("GET", "/v1/models")
    assert status == 200 and [m["id"] for m in models["data"]] == ["stories260K"]
    status, _, model = server.ask("GET", "/v1/models/stories260K")
    assert status == 200 and model["loaded"] and model["root"] == model["id"] and model["max_model_len"] == 512
    assert server.ask("GET", "/v1/models/other")[0] == 404


def test_a_completion_is_what_run_says(server, hadal):
    status, _, body = complete(server)
    assert status == 200
    run = hadal("run", TINY, "Once upon a time", "--raw", "--temperature", "0", "--max-tokens", "20").stdout.decode()
    assert body["choices"][0]["text"] == run.removesuffix("\n")
    assert body["choices"][0]["finish_reason"] == "length"
    assert body["usage"]["completion_tokens"] == 20
    assert body["usage"]["total_tokens"] == body["usage"]["prompt_tokens"] + 20


def test_head_and_wrong_methods(server):
    answer = server.raw(b"HEAD /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n") and answer.endswith(b"\r\n\r\n")
    status, headers, body = server.ask("GET", "/v1/completions")
    assert status == 405 and headers["Allow"] == "POST" and body["error"]["message"]
    assert server.ask("GET", "/nowhere")[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "", "127.0.0.1.evil.example"])
def test_a_foreign_host_is_refused(server, host):
    answer = server.raw(f"GET /v1/models HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403 ") and b"stories260K" not in answer


def test_no_host_is_refused(server):
    assert server.raw(b"GET /v1/models HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    assert server.raw(b"GET /v1/models HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.0 403 ")


def test_a_foreign_page_is_refused(server):
    status, headers, _ = server.ask("POST", "/v1/completions", {"prompt": "x"}, {"Origin": "http://evil.example"})
    assert status == 403 and "Access-Control-Allow-Origin" not in headers
    assert complete(server, max_tokens=1)[0] == 200
    assert server.ask("GET", "/v1/models", headers={"Origin": server.address})[0] == 200


@pytest.mark.parametrize("data, status", [
    (b"GARBAGE\r\n\r\n", 400),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(50), 400),
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\nOrigin: http://localhost\r\nConnection: close\r\n\r\n", 400),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\n", 415),
    (b"GET noslash HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    (b"GET /%00 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 40000 + b"\r\n\r\n", 431),
    (b"GET /" + b"a" * 100000 + b" HTTP/1.1\r\n", 431),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", 413),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", 400),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    (b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
])
def test_bad_requests_have_a_status(server, data, status):
    answer = server.raw(data)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert server.ask("GET", "/health")[0] == 200


def test_a_body_may_come_in_pieces(server):
    body = json.dumps({"prompt": "Once", "max_tokens": 2, "temperature": 0}).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[i:i + 7]), body[i:i + 7]) for i in range(0, len(body), 7)) + b"0\r\n\r\n"
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert server.raw(head + chunks).startswith(b"HTTP/1.1 200 ")
    with server.connect() as connection:
        for byte in request_bytes({"prompt": "Once", "max_tokens": 2}, headers="Connection: close\r\n"):
            connection.sendall(bytes([byte]))
        assert connection.recv(15).startswith(b"HTTP/1.1 200")


def test_expect_continue(server):
    with server.connect() as connection:
        body = json.dumps({"prompt": "Once", "max_tokens": 1}).encode()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nExpect: 100-continue\r\n"
                           b"Content-Length: %d\r\n\r\n" % len(body))
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")


def test_requests_one_behind_another(server):
    one = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
    last = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert server.raw(one * 50 + last).count(b"HTTP/1.1 200 OK") == 51


def test_requests_one_after_another(server):
    with server.connect() as connection:
        for i in range(20):
            body = json.dumps({"prompt": "Once" + " upon" * (i * 37 % 60), "max_tokens": 1}).encode()
            head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body)
            connection.sendall(head)
            time.sleep(0.005 * (i % 3))
            connection.sendall(body)
            received = b""
            while b'"total_tokens"' not in received:
                piece = connection.recv(65536)
                assert piece
                received += piece
            assert received.startswith(b"HTTP/1.1 200 "), received


def test_http_1_0(server):
    body = json.dumps({"prompt": "Once", "max_tokens": 3, "stream": True}).encode()
    answer = server.raw(b"POST /v1/completions HTTP/1.0\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert answer.startswith(b"HTTP/1.0 200 ") and answer.endswith(b"data: [DONE]\n\n") and b"chunked" not in answer


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"prompt": NaN}', b'{"prompt": "\xff"}', b"[" * 100000,
                                  b'{"prompt": "x", "n": 1e999}', b'{"a":' * 70 + b"1" + b"}" * 70])
def test_bodies_that_are_no_request(server, body):
    status, _, reply = server.ask("POST", "/v1/completions", body)
    assert status == 400 and reply["error"]["type"] == "invalid_request_error", reply


def test_a_client_that_leaves_is_forgotten(server):
    for _ in range(5):
        connection = server.connect()
        connection.sendall(request_bytes({"prompt": "Once", "max_tokens": 400, "stream": True, "temperature": 1, "stop": []}))
        assert connection.recv(100)
        connection.close()
    server.wait_until_idle(10)
    connection = server.connect()
    connection.sendall(request_bytes({"prompt": "Once", "max_tokens": 400, "n": 4}))
    connection.close()
    server.wait_until_idle(10)


def test_a_full_queue_says_so(server):
    replies = []

    def ask():
        replies.append(complete(server, max_tokens=300, n=4, temperature=1, seed=1))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = sorted(status for status, *_ in replies)
    assert set(statuses) <= {200, 429} and statuses.count(200) >= 3, statuses
    for status, headers, body in replies:
        if status == 429:
            assert int(headers["Retry-After"]) > 0 and body["error"]["message"]
    server.wait_until_idle()
    status, headers, _ = complete(server, n=13)  # more than there are places: later is no better
    assert status == 400 and headers["Retry-After"] is None


def test_an_over_long_prompt_has_both_numbers(server):
    status, _, body = complete(server, "word " * 2000)
    assert status == 400
    error = body["error"]
    assert error["type"] == "exceed_context_size_error" and error["n_ctx"] == 512 and error["n_prompt_tokens"] > 512
    assert str(error["n_prompt_tokens"]) in error["message"] and "512" in error["message"]


def test_a_broken_request_harms_nobody(server):
    wanted = complete(server)[2]["choices"][0]["text"]
    stop = threading.Event()

    def noise():
        while not stop.is_set():
            server.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\nConnection: close\r\n\r\n" + b"{" * 50)

    thread = threading.Thread(target=noise)
    thread.start()
    try:
        for _ in range(10):
            assert complete(server)[2]["choices"][0]["text"] == wanted
    finally:
        stop.set()
        thread.join()


def test_a_coded_body_is_refused_by_its_header(server):
    for coding, status in ("gzip", 415), ("identity", 200), ("identity, br", 415), (" Identity ,", 200):
        got, headers, body = server.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 1}, {"Content-Encoding": coding})
        assert got == status, (coding, body)
        if status == 415:
            assert "Content-Encoding" in body["error"]["message"] and headers["Accept-Encoding"] == "identity"


def test_many_idle_connections(server):
    connections = [server.connect() for _ in range(500)]
    assert complete(server, max_tokens=2)[0] == 200
    for connection in connections:
        connection.close()


def test_nothing_of_a_prompt_is_logged(server):
    complete(server, "xyzzy-secret", max_tokens=1)
    server.ask("POST", "/v1/completions", b'{"prompt": "xyzzy-secret"')
    assert "xyzzy" not in server.notes()


def test_not_ready_until_loaded_then_ready(hadal):
    with LocalServer(hadal, TINY, wait=False, log=hadal.home.parent / "loading.log") as server:
        statuses = set()
        for _ in range(200):
            statuses.add(server.ask("GET", "/health")[0])
            if 200 in statuses:
                break
            time.sleep(0.05)
        assert 200 in statuses and statuses <= {200, 503}
        assert complete(server, max_tokens=1)[0] == 200


def test_sigterm_lets_answers_finish(hadal):
    server = LocalServer(hadal, TINY, "--context", "512", log=hadal.home.parent / "drain.log")
    idle = server.connect()
    with server.connect() as connection:
        connection.sendall(request_bytes({"prompt": "Once", "max_tokens": 400, "stream": True, "temperature": 1, "seed": 3},
                                         headers="Connection: close\r\n"))
        received = connection.recv(200)
        server.process.send_signal(signal.SIGTERM)
        while piece := connection.recv(65536):
            received += piece
    assert b"data: [DONE]" in received
    assert idle.recv(10) == b""
    assert server.end() == 0
    assert "ending" in server.notes()


def test_a_second_signal_ends_at_once(hadal):
    server = LocalServer(hadal, TINY, "--context", "512", log=hadal.home.parent / "twice.log")
    connections = [server.connect() for _ in range(20)]
    for connection in connections:
        connection.sendall(request_bytes({"prompt": "Once", "n": 8, "temperature": 1}))
    time.sleep(0.2)
    server.process.send_signal(signal.SIGINT)
    time.sleep(0.1)
    assert server.end(signal.SIGINT, timeout=20) == 1
    assert "cut off" in server.notes()


def test_refusals(hadal, server, tmp_path):
    hadal.fails("serve", TINY, "--host", "0.0.0.0", says=["0.0.0.0", "127.0.0.1"])
    hadal.fails("serve", TINY, "--host", "192.168.1.1", says="keys")
    hadal.fails("serve", TINY, "--host", "example", says="no numeric address")
    hadal.fails("serve", TINY, "--port", server.port, says="taken")
    hadal.fails("serve", TINY, "--port", "65536", status=2)
    hadal.fails("serve", tmp_path / "none.gguf", says="none.gguf")
    hadal.fails("serve", says="no model")
    hadal.fails("serve", TINY, "--allow-host", "box.lan:8080", status=2, says="without a port")
    config = tmp_path / "config.json"
    for text, says in [("[]", "no JSON object"), ("{", "line 1, column 2"), ('{"prot": 1}', "prot"), ('{"port": 70000}', "port"),
                       ('{"port": {}}', "port")]:
        config.write_text(text)
        hadal.fails("serve", TINY, "--config", config, says=[says, "config.json"])


def test_a_file_of_options(hadal, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"context": 256, "parallel": 2, "allow-host": ["Box.LAN"]}))
    with LocalServer(hadal, TINY, "--config", config, "--parallel", "3", log=tmp_path / "log") as server:
        assert server.ask("GET", "/v1/models")[2]["data"][0]["max_model_len"] == 256
        assert "up to 3 answers" in server.notes()
        assert server.raw(b"GET /health HTTP/1.1\r\nHost: box.lan\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_server_without_a_queue(hadal, tmp_path):
    with LocalServer(hadal, TINY, "--context", "256", "--parallel", "1", "--queue", "0") as server:
        assert server.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 1})[0] == 200


def test_models_on_demand(hadal, tmp_path):
    home = Hadal(tmp_path / "home")
    models = tmp_path / "home/models"
    models.mkdir(parents=True)
    for name in ("one", "two"):
        (models / f"{name}.gguf").write_bytes(TINY.read_bytes())
    with LocalServer(home, "--context", "256", "--keep-alive", "1", log=tmp_path / "log") as server:
        listed = server.ask("GET", "/v1/models")[2]["data"]
        assert [m["id"] for m in listed] == ["one", "two"] and not any(m["loaded"] for m in listed)
        assert complete(server, model="one")[0] == 200
        assert complete(server, model="three")[::2][0] == 404
        assert complete(server, model="two")[2]["model"] == "two"
        until = time.monotonic() + 30
        while any(m["loaded"] for m in server.ask("GET", "/v1/models")[2]["data"]):
            assert time.monotonic() < until, "idle models stay loaded"
            time.sleep(0.1)
        assert complete(server, model="one")[0] == 200


def test_a_slow_reader_is_given_up(server):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect((server.host, server.port))
    connection.sendall(request_bytes({"prompt": "Once", "max_tokens": 400, "stream": True}))
    time.sleep(0.5)
    assert complete(server, max_tokens=2)[0] == 200, "others are unharmed"
    connection.close()
    server.wait_until_idle()
