"""`hadal serve` over TLS: who gets in, who is told why not, and that nobody harms the others. On the tiny model."""

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import time

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer

PROMPT = {"prompt": "Once upon a time", "temperature": 0, "max_tokens": 20}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


def openssl(*arguments, **options):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, **options)


def certify(folder, name, algorithm=("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"), days=2):
    """A certificate that certifies itself, for this machine: (certificate, key)."""
    certificate, key = folder / f"{name}.crt", folder / f"{name}.key"
    openssl("req", "-x509", "-nodes", *algorithm, "-keyout", key, "-out", certificate, "-days", days, "-subj", f"/CN={name}",
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost")
    return certificate, key


@pytest.fixture(scope="module")
def identity(folder):
    return certify(folder, "hadal")


def options_of(identity):
    return "--tls-certificate", identity[0], "--tls-key", identity[1]


@pytest.fixture(scope="module")
def server(tmp_path_factory, identity):
    hadal = Hadal(tmp_path_factory.mktemp("serve") / "home")
    with LocalServer(hadal, TINY, *options_of(identity), trust=identity[0]) as server:
        yield server


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def test_requests_and_streams(server):
    assert server.address.startswith("https://")
    status, _, body = server.ask("POST", "/v1/completions", PROMPT)
    assert status == 200 and body["usage"]["completion_tokens"] == 20
    text = json.dumps({**PROMPT, "stream": True}).encode()
    head = b"POST /v1/completions HTTP/1.%d\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    for version in 0, 1:
        answer = server.raw(head % (version, len(text)) + text).decode()
        events = [line[6:] for line in answer.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        assert "".join(json.loads(event)["choices"][0]["text"] for event in events[:-1]) == body["choices"][0]["text"]


def test_many_requests_over_one_connection(server):
    with server.connect() as connection:
        for _ in range(20):
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            received = b""
            while not received.endswith(b'{"status":"ok"}'):
                received += connection.recv(4096)


def test_a_long_body_and_a_long_answer(server):
    words = "Once upon a time there was a cat. " * 30_000
    status, _, body = server.ask("POST", "/tokenize", {"prompt": words, "return_token_strs": True})
    assert status == 200 and len("".join(body["token_strs"])) >= len(words) // 2


def test_curl(server, identity):
    curl = shutil.which("curl") or pytest.skip("curl is not there")
    done = subprocess.run([curl, "-sS", "--cacert", identity[0], server.address + "/v1/models"], capture_output=True, timeout=60)
    assert json.loads(done.stdout)["data"][0]["id"] == "stories260K", done.stderr
    done = subprocess.run([curl, "-sS", server.address + "/v1/models"], capture_output=True, timeout=60)
    assert done.returncode == 60, "an unknown certificate is not taken"


def test_openai(server, identity):
    from real_servers import need_client
    need_client("openai")
    import httpx
    import openai
    with httpx.Client(verify=ssl.create_default_context(cafile=identity[0])) as http:
        client = openai.OpenAI(base_url=server.address + "/v1", api_key="any", http_client=http)
        whole = client.completions.create(model="stories260K", **PROMPT).choices[0].text
        stream = client.completions.create(model="stories260K", stream=True, **PROMPT)
        assert "".join(event.choices[0].text for event in stream) == whole


def test_only_what_is_safe(server):
    def version(least, most, ciphers="DEFAULT:@SECLEVEL=0"):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers(ciphers)
        context.minimum_version, context.maximum_version = least, most
        with socket.create_connection((server.host, server.port), 20) as plain, context.wrap_socket(plain) as connection:
            return connection.version()
    old, usual, new = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    assert version(usual, usual) == "TLSv1.2" and version(usual, new) == "TLSv1.3"
    with pytest.warns(DeprecationWarning), pytest.raises((ssl.SSLError, ConnectionError)):
        version(ssl.TLSVersion.TLSv1, old)
    for ciphers in "AES128-SHA", "ECDHE-ECDSA-AES128-SHA256", "AES256-GCM-SHA384":
        with pytest.raises((ssl.SSLError, ConnectionError)):
            version(usual, usual, ciphers)


def plain(server):
    return socket.create_connection((server.host, server.port), 60)


def read_all(connection):
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def test_plain_http_is_told(server):
    for request in b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"POST /v1/completions HTTP/1.1\r\nContent-Length: 90000\r\n\r\n" + b" " * 90000:
        with plain(server) as connection:
            connection.sendall(request)
            answer = read_all(connection)
        assert answer.startswith(b"HTTP/1.1 400 ") and b"https://" in answer
        head, body = answer.split(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head


def test_noise_ends(server):
    for noise in b"\0" * 100, b"\x16\x03\x01\xff\xff" + b"\xff" * 70000, b"SSH-2.0-OpenSSH\r\n", os.urandom(3000):
        with plain(server) as connection:
            with contextlib.suppress(OSError):  # it may have ended already
                connection.sendall(noise)
                connection.shutdown(socket.SHUT_WR)
            assert not read_all(connection).startswith(b"HTTP/1.1 200")
    assert server.ask("GET", "/health")[0] == 200


def hello():
    """The first bytes of a handshake."""
    out = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), out, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return out.read()


def test_a_stalled_handshake_is_given_up(server):
    begun = time.monotonic()
    with plain(server) as nothing, plain(server) as half, plain(server) as drip:
        half.sendall(hello()[:40])
        drip.setblocking(False)
        first = hello()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, BlockingIOError):
            for byte in range(100):  # a byte now and then does not help
                drip.send(first[byte:byte + 1])
                time.sleep(0.15)
        for connection in nothing, half:
            assert connection.recv(1) == b""
    assert 5 < time.monotonic() - begun < 20


def resident_bytes(server):
    return int(open(f"/proc/{server.process.pid}/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_flood_of_half_handshakes(server):
    """The oldest make room; others come through meanwhile."""
    wanted = server.ask("POST", "/v1/completions", PROMPT)[2]["choices"]
    before, first = resident_bytes(server), hello()
    with contextlib.ExitStack() as stack:
        flood = []
        for i in range(3000):
            connection = stack.enter_context(plain(server))
            connection.sendall(first)  # answered with the certificate, and then nothing
            flood.append(connection)
            if i % 500 == 499:
                assert server.ask("POST", "/v1/completions", PROMPT)[2]["choices"] == wanted
        assert resident_bytes(server) - before < 400 << 20
        flood[0].settimeout(5)
        assert len(read_all(flood[0])) < 4096, "the oldest is given up"
    assert server.ask("POST", "/v1/completions", PROMPT)[2]["choices"] == wanted


@pytest.mark.parametrize("farewell", [True, False])
def test_who_leaves_is_noticed(server, farewell):
    body = json.dumps({"prompt": "Once", "max_tokens": 480, "ignore_eos": True, "n": 16, "temperature": 1, "stream": True}).encode()
    connection = server.connect()
    connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    assert connection.recv(20)
    if farewell:
        with contextlib.suppress(OSError):
            connection.settimeout(0)
            connection.unwrap()  # TLS's own goodbye
    connection.close()
    server.wait_until_idle(10)


def test_renewed_while_it_serves(hadal, folder, tmp_path):
    """SIGHUP: new connections see the new certificate, a bad one changes nothing, and old connections go on."""
    old, new = certify(folder, "old"), certify(folder, "new", ("-newkey", "rsa:2048"))
    here = tmp_path / "live.crt", tmp_path / "live.key"
    both = tmp_path / "both.crt"
    both.write_text(old[0].read_text() + new[0].read_text())

    def put(identity):
        for source, target in zip(identity, here):
            shutil.copy(source, f"{target}.new")
            os.replace(f"{target}.new", target)

    def shown():
        with server.connect() as connection:
            return dict(pair[0] for pair in connection.getpeercert()["subject"])["commonName"]

    def told(words):
        until = time.monotonic() + 20
        while words not in server.notes():
            assert time.monotonic() < until and server.process.poll() is None, server.notes()
            time.sleep(0.02)

    put(old)
    with LocalServer(hadal, TINY, *options_of(here), trust=both) as server, server.connect() as kept:
        assert shown() == "old"
        put((new[0], old[1]))
        server.process.send_signal(signal.SIGHUP)
        told("stays as it was")
        assert shown() == "old" and "is not that of the certificate" in " ".join(server.notes().split())
        put(new)
        server.process.send_signal(signal.SIGHUP)
        told("was read again")
        assert shown() == "new"
        kept.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        assert b'"ok"' in read_all(kept)


def test_what_cannot_be_used_is_named(hadal, folder, identity, tmp_path):
    def fails(certificate, key, says):
        hadal.fails("serve", TINY, "--port", "0", "--tls-certificate", certificate, "--tls-key", key, says=says)
    certificate, key = identity
    other = certify(folder, "other")
    hadal.fails("serve", TINY, "--port", "0", "--tls-certificate", certificate, says="go together")
    hadal.fails("serve", TINY, "--port", "0", "--tls-key", key, says="go together")
    fails(tmp_path / "none", key, "is not there")
    fails(certificate, tmp_path / "none", "is not there")
    fails(key, key, "no certificate")
    fails(certificate, certificate, "no private key")
    for others_key in other[1], certify(folder, "kind", ("-newkey", "rsa:2048"))[1]:
        fails(certificate, others_key, "is not that of the certificate")
    (tmp_path / "empty").write_text("")
    fails(tmp_path / "empty", key, "no certificate")
    openssl("pkey", "-in", key, "-aes256", "-passout", "pass:secret", "-out", tmp_path / "locked.key")
    fails(certificate, tmp_path / "locked.key", "is encrypted")


def test_what_should_not_be_so_is_said(hadal, identity, tmp_path):
    key = tmp_path / "open.key"
    shutil.copy(identity[1], key)
    key.chmod(0o644)
    with LocalServer(hadal, TINY, *options_of((identity[0], key)), trust=identity[0]) as server:
        assert "everybody on this machine can read" in " ".join(server.notes().split())
    hadal("key", "add", "laptop")
    for extra, warned in ((), True), (options_of(identity), False):
        log = tmp_path / f"{warned}.log"
        with LocalServer(hadal, TINY, "--host", "0.0.0.0", *extra, log=log, wait=False) as server:
            time.sleep(0.2)
            assert ("unencrypted" in server.notes()) == warned


def test_by_environment_and_file(hadal, identity, tmp_path):
    config = tmp_path / "serve.json"
    config.write_text(json.dumps({"tls-key": str(identity[1])}))
    hadal.environment["HADAL_TLS_CERTIFICATE"] = str(identity[0])
    with LocalServer(hadal, TINY, "--config", config, trust=identity[0]) as server:
        assert server.ask("GET", "/health")[0] == 200
