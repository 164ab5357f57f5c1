"""`hadal serve` for a test: started on a free port, asked over plain sockets or urllib, ended in the end."""

import json
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

from conftest import CRASH_WORDS, PROGRAM


class LocalServer:
    def __init__(self, hadal, *arguments, wait=True, log=None, trust=None, stdout=subprocess.DEVNULL):
        """trust: a file of certificates that the server's is held to, where it speaks TLS. wait: until it says that it serves;
        else only until it has its port."""
        self.tls = ssl.create_default_context(cafile=trust) if trust else None
        self.log = log or hadal.home.parent / "serve.log"
        self.errors = open(self.log, "wb")
        self.process = subprocess.Popen([PROGRAM, "serve", *map(str, arguments), "--port", "0"], env=hadal.environment,
                                        stdin=subprocess.DEVNULL, stdout=stdout, stderr=self.errors)
        if wait:
            self.address = self._find(r"hadal serves at (\S+) ").group(1)
        else:
            bound = self._find(r"port (\d+) of (\S+) is bound")
            host = bound.group(2).replace("0.0.0.0", "127.0.0.1")
            self.address = f"{'https' if trust else 'http'}://{host}:{bound.group(1)}"
        self.host, port = self.address.split("://")[1].rsplit(":", 1)
        self.host = self.host.strip("[]")
        self.port = int(port)
        if wait:
            self.wait_until_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def notes(self):
        return self.log.read_text(errors="replace")

    def _find(self, pattern, timeout=60):
        until = time.monotonic() + timeout
        while time.monotonic() < until:
            found = re.search(pattern, self.notes())
            if found:
                return found
            assert self.process.poll() is None, self.notes()
            time.sleep(0.02)
        raise AssertionError(f"no {pattern} in {self.notes()}")

    def wait_until_ready(self, timeout=120):
        until = time.monotonic() + timeout
        while self.ask("GET", "/ready")[0] != 200:
            assert time.monotonic() < until and self.process.poll() is None, self.notes()
            time.sleep(0.05)

    def end(self, send=signal.SIGTERM, timeout=60):
        """Ends the server as a process manager would; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(send)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"it did not end: {self.notes()}") from None
        self.errors.close()
        assert not any(word in self.notes() for word in CRASH_WORDS), self.notes()
        return status

    def ask(self, method, path, body=None, headers=None, timeout=120):
        """(status, headers, body); JSON bodies are parsed."""
        status, headers, text = self.text(method, path, body, headers, timeout)
        return status, headers, json.loads(text) if text else None

    def text(self, method, path, body=None, headers=None, timeout=120):
        """The same with the body as it came."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data=data, method=method, headers=headers or {})
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=self.tls) as reply:
                return reply.status, reply.headers, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read().decode()

    def chat(self, text, **fields):
        return self.ask("POST", "/v1/chat/completions", {"messages": [{"role": "user", "content": text}], **fields})

    def connect(self, timeout=60):
        connection = socket.create_connection((self.host, self.port), timeout)
        return self.tls.wrap_socket(connection, server_hostname=self.host) if self.tls else connection

    def raw(self, data, timeout=60):
        """Sends bytes, gives all that comes back until the server closes."""
        with self.connect(timeout) as connection:
            try:
                connection.sendall(data)
            except OSError:
                pass  # refused on the way
            received = b""
            while True:
                try:
                    piece = connection.recv(65536)
                except ConnectionResetError:
                    return received
                if not piece:
                    return received
                received += piece

    def answers_under_way(self):
        """Over all models."""
        return sum(model["answers"] for model in self.ask("GET", "/v1/models")[2]["data"])

    def wait_until_idle(self, timeout=60):
        until = time.monotonic() + timeout
        while self.answers_under_way() > 0:
            assert time.monotonic() < until, "answers are still under way"
            time.sleep(0.02)
