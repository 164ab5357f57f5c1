"""`hadal serve` among clients that are killed, stall, lie or flood, and on a machine whose disk is full. On the tiny model.

Each test has a bound in time, and while it runs others are answered as ever."""

import contextlib
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from conftest import PROGRAM, TINY, Hadal
from local_server import LocalServer

CONTEXT = 512
IDLE_CONNECTIONS = 10_000
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
TCP_REPAIR = 19
SLOW_ANSWER_SECONDS = 60  # on a machine with much else to do

# A client of its own process: so many streams; says so when all have begun, then reads on until it is killed.
CLIENT = """
import json, socket, sys
port, count = int(sys.argv[1]), int(sys.argv[2])
body = json.dumps({"prompt": "Once", "max_tokens": 450, "n": 4, "temperature": 1, "stream": True}).encode()
head = b"POST /v1/completions HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(body)
streams = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
for stream in streams:
    stream.sendall(head + body)
streams[0].recv(100)
print("reading", flush=True)
while True:
    for stream in streams:
        stream.recv(1 << 16)
"""


@pytest.fixture(scope="module")
def hadal(tmp_path_factory):
    return Hadal(tmp_path_factory.mktemp("faults") / "home")


@pytest.fixture(scope="module")
def server(hadal):
    with LocalServer(hadal, TINY, "--context", CONTEXT, "--parallel", "8", "--queue", "256") as running:
        yield running


def request(**fields):
    body = json.dumps({"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0, **fields}).encode()
    return HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body


def complete(server):
    status, _, body = server.ask("POST", "/v1/completions", {"prompt": "Once upon a time", "max_tokens": 20, "temperature": 0},
                                 timeout=SLOW_ANSWER_SECONDS)
    assert status == 200, body
    return body["choices"][0]["text"]


@pytest.fixture(scope="module")
def wanted(server):
    return complete(server)


@contextlib.contextmanager
def others_unharmed(server, wanted):
    """While the block runs another client asks all the time; afterwards nothing is left of what the block asked for."""
    stop, wrong, answered = threading.Event(), [], []

    def ask():
        while not stop.is_set():
            try:
                text = complete(server)
                answered.append(text)
                if text != wanted:
                    wrong.append(text)
            except Exception as error:  # noqa: BLE001: whatever it is, the other client was harmed
                wrong.append(repr(error))
            time.sleep(0.02)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not wrong, wrong[:3]
    assert complete(server) == wanted
    server.wait_until_idle(30)
    assert server.process.poll() is None


def descriptors(server):
    return len(os.listdir(f"/proc/{server.process.pid}/fd"))


def resident_bytes(server):
    with open(f"/proc/{server.process.pid}/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def wait_until(condition, seconds, what):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, what
        time.sleep(0.05)


def closed_by_peer(connection, seconds):
    """Whether the other side ends it in time; what came before is dropped."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            if not connection.recv(1 << 16):
                return True
        except TimeoutError:
            return False
        except OSError:
            return True
    return False


def test_clients_that_are_killed(server, wanted):
    before = descriptors(server)
    with others_unharmed(server, wanted):
        for _ in range(3):
            clients = [subprocess.Popen([sys.executable, "-c", CLIENT, str(server.port), "8"], stdout=subprocess.PIPE) for _ in range(2)]
            for client in clients:
                assert client.stdout.readline() == b"reading\n"
            for client in clients:
                client.kill()
                client.wait()
                client.stdout.close()
    wait_until(lambda: descriptors(server) <= before + 2, 20, "connections of killed clients stay")


def test_clients_that_reset_the_connection(server, wanted):
    with others_unharmed(server, wanted):
        for number in range(40):
            connection = server.connect()
            connection.sendall(request(stream=True, max_tokens=400, temperature=1))
            if number % 2:
                connection.recv(100)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()


def test_a_machine_that_vanishes(server, wanted):
    """Its end is gone without a word, as when a cable is pulled: the next packets find nobody."""
    before = descriptors(server)
    with others_unharmed(server, wanted):
        for _ in range(5):
            connection = server.connect()
            connection.sendall(request(stream=True, max_tokens=450, n=8, temperature=1))
            assert connection.recv(15) == b"HTTP/1.1 200 OK"
            try:
                connection.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)  # closing then tells nobody
            except PermissionError:
                pytest.skip("only an administrator can make a connection vanish")
            connection.close()
    wait_until(lambda: descriptors(server) <= before + 2, 20, "connections of vanished clients stay")


def test_clients_that_close_one_half(server, wanted):
    """Who will send no more still reads the answer to what was asked; half a request is no request."""
    before = descriptors(server)
    with others_unharmed(server, wanted):
        for data in [b"", b"POST /v1/comp", HEAD, HEAD + b"Content-Length: 100\r\n\r\n{"]:
            assert half_closed(server, data) == b"", data
        for stream in False, True:
            answer = half_closed(server, request(stream=stream))
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
            assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n") if stream else json.dumps(wanted).encode() in answer, answer
        assert half_closed(server, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3).count(b"HTTP/1.1 200 OK") == 3
    wait_until(lambda: descriptors(server) <= before + 2, 20, "half-closed connections stay")


def half_closed(server, data):
    with server.connect(SLOW_ANSWER_SECONDS) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(1 << 16):
            received += piece
        return received


@pytest.mark.parametrize("stream", [False, True])
def test_clients_that_leave(server, stream):
    """Without a word but the end of what they send: nothing of their answers is computed for nobody."""
    server.wait_until_idle(30)
    connection = server.connect()
    connection.sendall(request(stream=stream, max_tokens=480, n=16, temperature=1, ignore_eos=True))
    wait_until(lambda: server.answers_under_way() == 16, 20, "it is not begun")
    begin = time.monotonic()
    connection.close()
    server.wait_until_idle(30)
    assert time.monotonic() - begin < 1


def test_clients_that_stall(server, wanted):
    """All at once, because each has to be waited for: what never ends, and what is never read, is given up in the time that limits.h says."""
    memory = resident_bytes(server)
    with others_unharmed(server, wanted):
        unfinished = [server.connect() for _ in range(30)]
        for number, connection in enumerate(unfinished):
            connection.sendall([b"P", HEAD, HEAD + b"X: " + b"a" * 30000][number % 3])
        # Readers that never read, or a byte now and then: a stream of megabytes, and answers that were asked for all at once.
        lazy = []
        for number in range(8):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((server.host, server.port))
            connection.settimeout(1)
            with contextlib.suppress(OSError):
                if number % 2:
                    connection.sendall(request(stream=True, n=16, max_tokens=480, temperature=1, logprobs=5))
                else:
                    connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 40000)
            lazy.append(connection)
        for connection in unfinished:
            assert closed_by_peer(connection, 30), "a head that never ends is waited for too long"
        server.wait_until_idle(60)
        assert resident_bytes(server) - memory < 64 << 20
        # What lies in the sockets' own buffers can still be read; then there is an end.
        wait_until(lambda: all_given_up(server, lazy), 60, "who hardly reads is waited for too long")
        for connection in lazy:
            connection.close()


def all_given_up(server, lazy):
    """Every fourth takes a byte each time this is asked."""
    for connection in lazy[::4]:
        connection.setblocking(False)
        with contextlib.suppress(OSError):
            connection.recv(1)
    return all(given_up(server, connection) for connection in lazy)


def given_up(server, connection):
    """Whether the server's end of this connection is closed, as the kernel lists it; nothing is read."""
    mine = "%04X" % connection.getsockname()[1]
    with open("/proc/net/tcp") as table:
        for line in table:
            fields = line.split()
            if fields[1].endswith(":%04X" % server.port) and fields[2].endswith(":" + mine) and fields[3] == "01":
                return False
    return True


@pytest.mark.parametrize("data, statuses", [
    (HEAD + b"Content-Length: 5\r\n\r\n" + b"{" * 5 + b"}" * 200, (400, 400)),  # the rest is taken for the next request
    (HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}    ", (400,)),
    (HEAD + b"Content-Length: 18446744073709551617\r\n\r\n{}", (400,)),
    (HEAD + b"Content-Length: 18446744073709551615\r\n\r\n{}", (413,)),
    (HEAD + b"Content-Length: 0x10\r\n\r\n{}", (400,)),
    (HEAD + b"Content-Length: +2\r\n\r\n{}", (400,)),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFF\r\n{", (413, 400)),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n{", (400,)),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}garbage\r\n0\r\n\r\n", (400,)),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 200000 + b"\r\n{\r\n0\r\n\r\n", (431, 413, 400)),
    (HEAD + b"Transfer-Encoding: gzip, chunked\r\nConnection: close\r\n\r\n2\r\n{}\r\n0\r\n\r\n", (400, 501)),
    (HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\nConnection: close\r\n\r\n\x1f\x8b", (400, 415)),
    (HEAD + b"".join(b"X-%d: 1\r\n" % i for i in range(20000)), (431,)),
    (HEAD + b"X-Long: 1\r\n" + b" folded\r\n" * 20000, (400, 431)),
    (HEAD.replace(b"HTTP/1.1", b"HTTP/9.9") + b"\r\n", (400, 505)),
    (HEAD[:-2] + b"\x00\r\n\r\n", (400, 403)),
])
def test_lies_and_floods(server, data, statuses):
    answer = server.raw(data, timeout=20)
    assert answer.startswith(b"HTTP/1.") and int(answer.split()[1]) in statuses, answer[:300]
    assert answer.count(b"HTTP/1.1 200") == 0
    assert server.ask("GET", "/health")[0] == 200


def test_bodies_that_break_off(server, wanted):
    before = descriptors(server)
    whole = request()
    with others_unharmed(server, wanted):
        for length in range(len(HEAD), len(whole), 7):
            with server.connect() as connection:
                connection.sendall(whole[:length])
        for pieces in (b"", b"5\r\n{", b"5\r\n{}   \r\n", b"5\r\n{}   \r\n0\r\n"):
            with server.connect() as connection:
                connection.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces)
    wait_until(lambda: descriptors(server) <= before + 2, 20, "broken requests stay")


def test_bodies_that_are_announced_take_no_room(server, wanted):
    """Sixteen would fit into what bodies may hold together; forty are announced, and none sent: others are answered meanwhile."""
    memory = resident_bytes(server)
    with others_unharmed(server, wanted):
        connections = [server.connect() for _ in range(40)]
        for connection in connections:
            connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n{" % (16 << 20))
        time.sleep(1)
        assert resident_bytes(server) - memory < 64 << 20
        for connection in connections:
            connection.close()


def test_bodies_have_a_bound_together(server, wanted):
    """As many as are sent but for their last byte, and all are kept: then who comes is told to try again, and afterwards there is room."""
    large = HEAD + b"Content-Length: %d\r\n\r\n" % (16 << 20) + b" " * ((16 << 20) - 1)
    connections = []
    try:
        for _ in range(20):
            connections.append(server.connect(20))
            with contextlib.suppress(OSError):
                connections[-1].sendall(large)
        wait_until(lambda: any(was_refused(connection) for connection in connections), 20, "nobody is refused")
        assert resident_bytes(server) < 1 << 30
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: server.ask("POST", "/v1/completions", b"{")[0] == 400, 20, "the room is not given back")
    assert complete(server) == wanted


def was_refused(connection):
    connection.settimeout(0.01)
    try:
        return b" 503 " in connection.recv(20)
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def test_many_idle_connections(server, wanted):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE_CONNECTIONS + 200:
        pytest.skip(f"{IDLE_CONNECTIONS} connections need a higher limit of open files than {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, IDLE_CONNECTIONS + 200), hard))
    memory, before = resident_bytes(server), descriptors(server)
    connections = []
    try:
        with others_unharmed(server, wanted):
            for number in range(IDLE_CONNECTIONS):
                connections.append(server.connect(20))
                if number % 3 == 0:
                    connections[-1].sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            for connection in connections[::3]:
                assert connection.recv(15) == b"HTTP/1.1 200 OK"
            assert descriptors(server) >= before + IDLE_CONNECTIONS - 2
            assert resident_bytes(server) - memory < IDLE_CONNECTIONS * (8 << 10) + (8 << 20)
    finally:
        for connection in connections:
            connection.close()
    wait_until(lambda: descriptors(server) <= before + 2, 30, "idle connections stay after they were closed")


def test_garbage_behind_a_request(server, wanted):
    with others_unharmed(server, wanted):
        answer = server.raw(request(stream=True) + b"\x00\xff garbage " * 20000, timeout=30)
        assert answer.startswith(b"HTTP/1.1 200 ") and b"data: [DONE]" in answer
        assert b"HTTP/1.1 400 " in answer or b"HTTP/1.1 431 " in answer
        assert server.raw(b"\r\n" * 50000 + b"\x00" * 50000, timeout=30).count(b"HTTP/1.1 200") == 0
        mixed = b"".join([b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"] * 200) + b"GARBAGE\r\n\r\n"
        answer = server.raw(mixed, timeout=30)
        assert answer.count(b"HTTP/1.1 200 OK") == 200 and answer.count(b"HTTP/1.1 400 ") == 1


def test_sigterm_under_load(hadal):
    server = LocalServer(hadal, TINY, "--context", CONTEXT, "--parallel", "4", log=hadal.home.parent / "term.log")
    idle = [server.connect() for _ in range(50)]
    streams = [server.connect(SLOW_ANSWER_SECONDS) for _ in range(24)]
    for connection in streams:
        connection.sendall(request(stream=True, max_tokens=150, temperature=1))
    begun = [connection.recv(15) for connection in streams[:8]]
    assert all(head == b"HTTP/1.1 200 OK" for head in begun)
    server.process.send_signal(signal.SIGTERM)
    finished = 0
    for connection in streams:
        received = b""
        with contextlib.suppress(OSError):
            while piece := connection.recv(1 << 16):
                received += piece
        finished += received.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n")
    assert finished >= 8, "answers that had begun are finished"
    assert all(closed_by_peer(connection, 10) for connection in idle)
    assert server.end(timeout=45) == 0
    with pytest.raises(OSError):
        server.connect(1)


def test_sigterm_while_nobody_reads(hadal):
    """Answers that nobody takes do not hold up the end for longer than --drain says."""
    server = LocalServer(hadal, TINY, "--context", CONTEXT, "--drain", "1", log=hadal.home.parent / "lazy.log")
    lazy = [server.connect() for _ in range(6)]
    for connection in lazy:
        connection.sendall(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100 + request(stream=True, n=16, max_tokens=480))
    begin = time.monotonic()
    status = server.end(timeout=45)
    assert time.monotonic() - begin < 20
    assert status == (1 if "cut off" in server.notes() else 0), server.notes()


@contextlib.contextmanager
def started(hadal, errors):
    """A server whose notes nobody can read; its port was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([PROGRAM, "serve", str(TINY), "--port", str(port)], env=hadal.environment, stdin=subprocess.DEVNULL,
                               stdout=errors, stderr=errors)
    try:
        yield process, port
    finally:
        process.kill()
        process.wait()


def answers(process, port):
    head = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    assert process.poll() is None, f"it ended with {process.returncode}"
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(head)
            return connection.recv(15) == b"HTTP/1.1 200 OK"
    except OSError:
        return False


def ends_well(process, port):
    wait_until(lambda: answers(process, port), 60, "it does not answer")
    body = json.dumps({"prompt": "Once", "max_tokens": 5}).encode()
    with socket.create_connection(("127.0.0.1", port), SLOW_ANSWER_SECONDS) as connection:
        connection.sendall(HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert connection.recv(15) == b"HTTP/1.1 200 OK"
    process.send_signal(signal.SIGTERM)
    return process.wait(45) == 0


def test_a_full_disk_for_its_notes(hadal):
    with open("/dev/full", "wb") as full, started(hadal, full) as (process, port):
        assert ends_well(process, port)


def test_nobody_listens_to_its_notes(hadal):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with started(hadal, writing) as (process, port):
            assert ends_well(process, port)
    finally:
        os.close(writing)


def test_its_home_is_no_folder(tmp_path):
    """There could be neither keys nor models in it, so it says so and does not start open."""
    home = tmp_path / "home"
    home.write_text("no folder")
    Hadal(home).fails("serve", TINY, "--port", "0", says=[str(home), "is no folder"])
