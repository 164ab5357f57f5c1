"""Who may ask `hadal serve`: keys and their limits, other machines, other origins. On the tiny model."""

import json
import os
import socket
import threading

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def add_key(hadal, name, *limits):
    return hadal("key", "add", name, *limits).stdout.decode().strip()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def complete(server, headers=None, **fields):
    return server.ask("POST", "/v1/completions", {"prompt": "Once", "temperature": 0, "max_tokens": 5, **fields}, headers)


def test_keys_are_made_listed_and_removed(hadal):
    assert b"no keys" in hadal("key", "list").stderr
    key = add_key(hadal, "laptop", "--requests-per-minute", "60", "--concurrent", "2")
    assert key.startswith("hadal-") and len(key) == 70
    kept = hadal.home / "keys.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert key not in kept.read_text() and key[6:] not in kept.read_text()
    hadal.fails("key", "add", "laptop", says="already")
    hadal.fails("key", "add", "a b", says="no name for a key")
    hadal.fails("key", "rm", "other", says="no key other")
    hadal.fails("key", status=2)
    listed = hadal("key", "list").stdout.decode()
    assert "laptop" in listed and "60 requests a minute, 2 at once" in listed and key not in listed
    hadal("key", "rm", "laptop")
    assert b"no keys" in hadal("key", "list").stderr


def test_keys_that_cannot_be_kept_say_why(hadal):
    hadal.home.parent.mkdir(exist_ok=True)
    hadal.home.write_text("a file where the folder should be")
    hadal.fails("key", "add", "laptop", says="HADAL_HOME")


def test_every_address_but_the_open_ones_wants_a_key(hadal):
    key = add_key(hadal, "laptop")
    with LocalServer(hadal, TINY) as server:
        for path in ("/health", "/ready"):
            assert server.ask("GET", path)[0] == 200
        for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/stories260K"), ("POST", "/v1/chat/completions"),
                             ("POST", "/v1/completions"), ("GET", "/metrics"), ("GET", "/nowhere"), ("DELETE", "/health"),
                             ("GET", "//health"), ("GET", "/health/"), ("GET", "/HEALTH"), ("GET", "/v1/../health")):
            status, headers, body = server.ask(method, path, {} if method == "POST" else None)
            assert status == 401, (method, path, status)
            assert headers["WWW-Authenticate"] == "Bearer" and body["error"]["type"] == "authentication_error"
        assert complete(server, bearer(key))[0] == 200
        assert complete(server, {"x-api-key": key})[0] == 200
        for wrong in (key[:-1], key + "0", key.upper(), "hadal-", "", "\t"):
            assert complete(server, bearer(wrong))[0] == 401
        # Never later than at once.
        second = add_key(hadal, "second")
        assert complete(server, bearer(second))[0] == 200
        hadal("key", "rm", "laptop")
        assert complete(server, bearer(key))[0] == 401
        hadal("key", "rm", "second")
        assert complete(server, bearer(second))[0] == 401
        assert complete(server)[0] == 401
        assert key not in server.notes() and second not in server.notes()


def test_a_body_is_not_read_without_a_key(hadal):
    add_key(hadal, "laptop")
    with LocalServer(hadal, TINY) as server:
        answer = server.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 401 ")


def test_a_key_has_limits(hadal):
    few = add_key(hadal, "few", "--requests-per-minute", "2")
    short = add_key(hadal, "short", "--tokens-per-minute", "20")
    one = add_key(hadal, "one", "--concurrent", "1")
    with LocalServer(hadal, TINY, "--context", "512") as server:
        assert [complete(server, bearer(few))[0] for _ in range(3)] == [200, 200, 429]
        status, headers, body = complete(server, bearer(few))
        assert status == 429 and 0 < int(headers["Retry-After"]) <= 60 and "2 requests a minute" in body["error"]["message"]
        assert server.ask("GET", "/v1/models", headers=bearer(few))[0] == 200

        assert complete(server, bearer(short), max_tokens=60)[0] == 200
        status, headers, body = complete(server, bearer(short))
        assert status == 429 and int(headers["Retry-After"]) > 60 and "20 tokens a minute" in body["error"]["message"]

        with server.connect() as stream:
            text = json.dumps({"prompt": "Once", "max_tokens": 400, "stream": True, "temperature": 1, "seed": 1})
            stream.sendall(f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {one}\r\n"
                           f"Content-Length: {len(text)}\r\n\r\n{text}".encode())
            assert stream.recv(100)
            statuses = [complete(server, bearer(one))[0]]
            if statuses == [429]:  # else the stream was over already
                stream.close()
                for _ in range(200):
                    statuses.append(complete(server, bearer(one))[0])
                    if statuses[-1] == 200:
                        break
            assert statuses[-1] == 200


def test_other_machines_need_a_key_or_the_flag(hadal):
    hadal.fails("serve", TINY, "--host", "0.0.0.0", "--port", "0", says=["hadal key add", "--open"])
    with LocalServer(hadal, TINY, "--host", "0.0.0.0", "--open") as server:
        assert complete(server)[0] == 200
        assert "everybody" in server.notes()
    key = add_key(hadal, "laptop")
    with LocalServer(hadal, TINY, "--host", "0.0.0.0", log=hadal.home.parent / "keys.log") as server:
        assert complete(server)[0] == 401
        assert complete(server, bearer(key))[0] == 200


def test_a_broken_file_of_keys_starts_nothing(hadal):
    add_key(hadal, "laptop")
    (hadal.home / "keys.json").write_text("{")
    hadal.fails("serve", TINY, "--port", "0", says="keys.json")
    os.chmod(hadal.home / "keys.json", 0o666)
    hadal.fails("serve", TINY, "--port", "0", says="chmod 600")


def test_a_file_of_keys_that_breaks_while_it_runs_is_said(hadal):
    key = add_key(hadal, "laptop")
    keys = hadal.home / "keys.json"
    with LocalServer(hadal, TINY) as server:
        whole = keys.read_text()
        keys.write_text("{")
        assert [complete(server, bearer(key))[0] for _ in range(3)] == [200] * 3
        assert server.notes().count("keys.json") == 1 and "stay as they were" in " ".join(server.notes().split())
        keys.write_text(whole)
        assert [complete(server, bearer(key))[0] for _ in range(3)] == [200] * 3
        assert server.notes().count("in order again") == 1


def test_a_file_of_keys_that_cannot_be_read_starts_nothing(hadal):
    (hadal.home / "keys.json").mkdir(parents=True)
    hadal.fails("serve", TINY, "--port", "0", says="keys.json")


@pytest.mark.parametrize("home", ["/dev/null", "/dev/null/hadal"])
def test_a_home_that_is_no_folder_is_said(hadal, home):
    hadal.environment["HADAL_HOME"] = home
    hadal.fails("serve", TINY, "--port", "0", says=[home, "no folder", "HADAL_HOME"])


def test_an_origin_that_was_let_in(hadal):
    origin = "https://chat.example"
    hadal.fails("serve", TINY, "--allow-origin", "*", status=2, says="no origin")
    with LocalServer(hadal, TINY, "--allow-origin", origin) as server:
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        status, headers, body = server.ask("OPTIONS", "/v1/chat/completions", headers=asked)
        assert status == 204 and body is None
        assert headers["Access-Control-Allow-Origin"] == origin and headers["Access-Control-Allow-Headers"] == "authorization"
        assert headers["Access-Control-Allow-Credentials"] is None
        status, headers, _ = complete(server, {"Origin": origin})
        assert status == 200 and headers["Access-Control-Allow-Origin"] == origin and headers["Vary"] == "Origin"
        for other in ("https://evil.example", origin + ".evil.example", "http://chat.example", "null"):
            status, headers, _ = server.ask("OPTIONS", "/v1/chat/completions", headers={**asked, "Origin": other})
            assert status == 403 and headers["Access-Control-Allow-Origin"] is None
        assert complete(server)[1]["Access-Control-Allow-Origin"] is None


def test_what_clients_send_does_not_steer_a_log(hadal):
    add_key(hadal, "laptop")
    with LocalServer(hadal, TINY) as server:
        for line in ("GET /\x1b[31mred HTTP/1.1\r\nHost: localhost", "GET / HTTP/1.1\r\nHost: \x1b[31mred",
                     "GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer \x1b[31mred"):
            server.raw(f"{line}\r\nConnection: close\r\n\r\n".encode())
        assert "red" not in server.notes() and "\x1b" not in server.notes()
