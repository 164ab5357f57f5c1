"""A hub of our own for tests: it speaks as Hugging Face and as ModelScope do, so that the real clients accept it, and
it misbehaves on request. A store on another port stands for the content servers that hubs redirect large files to.

    hub = LocalHub()
    hub.add("owner/repo", {"model.gguf": bytes, "config.json": bytes})
    hub.faults.append(Fault("/store/", action="cut", after=1000, times=2))
    hub.url, hub.requests, hub.stop()
"""

import dataclasses
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

LARGE = 1000  # bytes; a file of so many is a "large" one, which the hub redirects to the store


def git_sha1(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclasses.dataclass
class Fault:
    """What to do wrong with requests whose path contains `path`, `times` times (None: always).

    action: status, slow, cut, silent, wrong_range, wrong_bytes, wrong_length, loop, redirect, whole, page, pointer, gzip, early
    """
    path: str
    action: str
    times: int | None = None
    status: int = 500
    headers: dict = dataclasses.field(default_factory=dict)
    after: int = 0          # bytes of the body before it happens
    rate: float = 0         # bytes a second, for slow
    location: str = ""
    skip: int = 0           # so many requests pass unharmed first
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def take(self, path):
        if self.path not in path:
            return False
        with self.lock:
            if self.skip > 0:
                self.skip -= 1
                return False
            if self.times is None:
                return True
            self.times -= 1
            return self.times >= 0


@dataclasses.dataclass
class Request:
    method: str
    path: str
    headers: dict
    port: int


class Repository:
    def __init__(self, files):
        self.files = dict(files)
        listing = json.dumps(sorted((name, hashlib.sha256(content).hexdigest()) for name, content in self.files.items()))
        self.commit = hashlib.sha1(listing.encode()).hexdigest()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "local-hub"

    def log_message(self, *arguments):
        pass

    def do_HEAD(self):
        self.answer(head=True)

    def do_GET(self):
        self.answer(head=False)

    def answer(self, head):
        hub = self.server.hub
        if self.path.startswith("http://"):  # asked as a proxy: all hosts are this hub
            host, self.path = re.fullmatch(r"http://([^/]+)(/.*)", self.path).groups()
            hub.proxied.add(host)
        hub.requests.append(Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()},
                                    self.server.server_address[1]))
        fault = next((f for f in list(hub.faults) if f.take(self.path)), None)
        try:
            if fault and fault.action == "status":
                return self.send(fault.status, b"no", headers=fault.headers, head=head)
            if fault and fault.action == "loop":
                return self.send(302, b"", headers={"Location": self.path + ("&" if "?" in self.path else "?") + "again=1"}, head=head)
            if fault and fault.action == "redirect":
                return self.send(302, b"", headers={"Location": fault.location or hub.store_url + self.path}, head=head)
            if fault and fault.action == "page":
                return self.send(200, b"<!DOCTYPE html><html><title>Sign in</title></html>", "text/html", head=head)
            if fault and fault.action == "pointer":
                return self.send(200, b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 5\n", head=head)
            if fault and fault.action == "silent" and fault.after == 0:
                return hub.sleep(3600)
            self.route(head, fault)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def route(self, head, fault):
        hub = self.server.hub
        path, _, query = self.path.partition("?")
        path = urllib.parse.unquote(path)
        query = urllib.parse.parse_qs(query)
        if hub.token and not path.startswith("/store/") and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self.send(401, b'{"error":"no"}', headers={"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if m := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.model_info(m[1], head)
        if m := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self.tree(m[1], query, head)
        if m := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.resolve(m[1], m[3], head, fault)
        if m := re.fullmatch(r"/store/([0-9a-f]{64})", path):
            return self.content(hub.blobs[m[1]], head, fault) if m[1] in hub.blobs else self.send(404, b"")
        if m := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo/files", path):
            return self.modelscope_files(m[1], head)
        if m := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/repo", path):
            return self.modelscope_file(m[1], query["FilePath"][0], head, fault)
        if m := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)/revisions", path):
            return self.json({"Code": 200, "Success": True, "Data": {"RevisionMap": {"Branches": [{"Revision": "master", "CreatedAt": 1}], "Tags": []}}}, head)
        if m := re.fullmatch(r"/api/v1/models/([^/]+/[^/]+)", path):
            return self.json({"Code": 200, "Success": True, "Data": {"Name": m[1].split("/")[1], "Path": m[1].split("/")[0]}}, head)
        if path in hub.plain:
            return self.content(hub.plain[path], head, fault)
        self.send(404, b"{}", headers={"X-Error-Code": "EntryNotFound"}, head=head)

    def repository(self, name):
        repository = self.server.hub.repositories.get(name)
        if repository is None:
            self.send(404, b'{"error":"Repository not found"}', headers={"X-Error-Code": "RepoNotFound"})
        return repository

    def model_info(self, name, head):
        if repository := self.repository(name):
            self.json({"_id": "1", "id": name, "modelId": name, "sha": repository.commit, "private": False, "gated": False,
                       "siblings": [{"rfilename": f} for f in repository.files]}, head)

    def tree(self, name, query, head):
        repository = self.repository(name)
        if not repository:
            return
        entries = list(self.server.hub.extra_entries)
        for path, content in repository.files.items():
            entry = {"type": "file", "oid": git_sha1(content), "size": len(content), "path": path}
            if len(content) >= LARGE:
                entry["lfs"] = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
            entries.append(entry)
        # Two a page, as long lists come.
        first = int(query.get("cursor", ["0"])[0])
        page = self.server.hub.page
        headers = {}
        if first + page < len(entries):
            headers["Link"] = f'<{self.server.hub.url}/api/models/{name}/tree/{repository.commit}?recursive=true&cursor={first + page}>; rel="next"'
        self.json(entries[first:first + page], head, headers)

    def resolve(self, name, path, head, fault):
        repository = self.repository(name)
        if not repository:
            return
        content = repository.files.get(path)
        if content is None:
            return self.send(404, b"", headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repository.commit}, head=head)
        if len(content) >= LARGE:
            digest = hashlib.sha256(content).hexdigest()
            return self.send(302, b"", headers={"Location": f"{self.server.hub.store_url}/store/{digest}", "X-Repo-Commit": repository.commit,
                                                "X-Linked-Size": str(len(content)), "X-Linked-Etag": f'"{digest}"'}, head=head)
        self.content(content, head, fault, {"X-Repo-Commit": repository.commit, "ETag": f'"{git_sha1(content)}"'})

    def modelscope_files(self, name, head):
        if repository := self.repository(name):
            files = [{"Name": p.rsplit("/", 1)[-1], "Path": p, "Type": "blob", "Size": len(c), "Sha256": hashlib.sha256(c).hexdigest(),
                      "Revision": repository.commit, "IsLFS": len(c) >= LARGE} for p, c in repository.files.items()]
            self.json({"Code": 200, "Success": True, "Data": {"Files": files, "IsVisual": 0}}, head)

    def modelscope_file(self, name, path, head, fault):
        repository = self.repository(name)
        if not repository:
            return
        content = repository.files.get(path)
        if content is None:
            return self.send(404, b"{}", head=head)
        if len(content) >= LARGE:
            return self.send(302, b"", headers={"Location": f"{self.server.hub.store_url}/store/{hashlib.sha256(content).hexdigest()}"}, head=head)
        self.content(content, head, fault)

    def json(self, value, head, headers=None):
        self.send(200, json.dumps(value).encode(), "application/json", headers or {}, head)

    def send(self, status, body, kind="text/plain", headers=None, head=False):
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if not head:
            self.wfile.write(body)

    def content(self, content, head, fault, headers=None):
        """The bytes of a file, whole or a range, with whatever the fault does to them."""
        action = fault.action if fault else ""
        size = len(content)
        begin, end = 0, size
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if wanted and action != "whole":
            begin = int(wanted[1])
            end = min(size, int(wanted[2]) + 1) if wanted[2] else size
            if begin >= size:
                return self.send(416, b"", headers={"Content-Range": f"bytes */{size}"}, head=head)
        partial = bool(wanted) and action != "whole"
        body = memoryview(content)[begin:end]
        self.send_response(206 if partial else 200)
        self.send_header("Content-Type", "application/octet-stream")
        if action == "gzip":
            self.send_header("Content-Encoding", "gzip")
        total = size + 7 if action == "wrong_length" else size
        self.send_header("Content-Length", str(total if action == "wrong_length" and not partial else len(body)))
        if partial:
            shift = 1 if action == "wrong_range" else 0
            self.send_header("Content-Range", f"bytes {begin + shift}-{end - 1 + shift}/{total}")
        self.send_header("Accept-Ranges", "bytes")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if head:
            return
        if action == "wrong_bytes":
            body = bytes(b ^ 1 for b in body[:100]) + bytes(body[100:])
        self.body(body, fault)

    def body(self, body, fault):
        hub = self.server.hub
        rate = hub.rate
        if fault and fault.action == "slow":
            rate = fault.rate
        cut = fault.after if fault and fault.action in ("cut", "silent", "early") else None
        at = 0
        step = max(1, int(rate / 20)) if rate else 256 << 10
        while at < len(body):
            end = min(at + step, len(body))
            if cut is not None and end >= cut:
                self.wfile.write(body[at:cut])
                self.wfile.flush()
                if fault.action == "silent":
                    hub.sleep(3600)
                # With a reset, as a broken network has it; "early" closes as if all were well.
                if fault.action == "cut":
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(body[at:end])
            hub.sent += end - at
            at = end
            if rate:
                hub.sleep(step / rate)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        pass


class LocalHub:
    def __init__(self, certificate=None):
        self.repositories, self.blobs, self.plain = {}, {}, {}
        self.faults, self.requests, self.extra_entries, self.proxied = [], [], [], set()
        self.token, self.rate, self.sent, self.page = "", 0, 0, 2
        self._stopping = threading.Event()
        self._servers = [self._serve(certificate), self._serve(certificate)]
        scheme = "https" if certificate else "http"
        self.url, self.store_url = [f"{scheme}://localhost:{s.server_address[1]}" for s in self._servers]

    def _serve(self, certificate):
        server = Server(("127.0.0.1", 0), Handler)
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.hub = self
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return server

    def add(self, name, files):
        repository = Repository(files)
        self.repositories[name] = repository
        for content in files.values():
            self.blobs[hashlib.sha256(content).hexdigest()] = content
        return repository

    def sleep(self, seconds):
        self._stopping.wait(seconds)

    def paths(self, part):
        return [r for r in self.requests if part in r.path]

    def stop(self):
        self._stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
