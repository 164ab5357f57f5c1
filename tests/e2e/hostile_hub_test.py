"""The same hub misbehaving: the file in the end is right, or a sentence says why not and what to type next."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from conftest import PROGRAM
from local_hub import Fault, LocalHub
from pull_test import REPOSITORY, hub, noise, pull, pulled, sha256, snapshot  # noqa: F401 (fixtures)

CONTENT = noise(400_000)
QUICK = ["--retries", "3", "--timeout", "1"]


@pytest.fixture
def file(hub):
    hub.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
    return "/store/" + sha256(CONTENT)


def assert_right(pull, hub):
    assert (snapshot(pull, hub) / "m-Q8_0.gguf").read_bytes() == CONTENT


def assert_nothing_left(pull):
    """Neither wrong bytes under a right name nor a listed model."""
    assert pulled(pull) == []
    assert not list(pull.cache.glob("models--*/snapshots/*/*"))
    assert not [b for b in pull.cache.glob("models--*/blobs/*") if "hadal" not in b.name]


# What passes: the pull ends well all the same.
@pytest.mark.parametrize("fault", [
    dict(action="cut", after=0, times=2), dict(action="cut", after=1, times=2), dict(action="cut", after=100_000, times=3),
    dict(action="cut", after=399_999, times=2), dict(action="early", after=1000, times=2), dict(action="silent", times=1),
    dict(action="silent", after=1000, times=1), dict(action="status", status=500, times=2), dict(action="status", status=503, times=1, headers={"Retry-After": "1"}),
    dict(action="status", status=429, times=1, headers={"Retry-After": "1"}), dict(action="whole"), dict(action="whole", times=3),
    dict(action="wrong_bytes", times=1), dict(action="slow", rate=300_000)], ids=lambda f: "-".join(str(v) for v in f.values() if not isinstance(v, dict)))
def test_what_passes(pull, hub, file, fault):
    hub.faults.append(Fault(file, **fault))
    text = pull("pull", f"hf:{REPOSITORY}", *QUICK).stderr.decode()
    assert_right(pull, hub)
    if fault["action"] == "wrong_bytes":
        assert "wrong bytes" in text and "fetching it again" in text
    if fault.get("status") in (429, 503):
        times = [r for r in hub.requests if file in r.path]
        assert len(times) == 2


# What does not: a sentence names it.
@pytest.mark.parametrize("fault, says", [
    (dict(action="wrong_range"), ["wrong range"]), (dict(action="wrong_length"), ["another length", "400007"]),
    (dict(action="wrong_bytes"), ["wrong bytes", "a second time", "HF_ENDPOINT"]), (dict(action="loop"), ["redirects", "nowhere"]),
    (dict(action="redirect", location="ftp://example.com/x"), ["only https and http"]),
    (dict(action="redirect", location="http://user:secret@example.com/x"), ["name or password"]),
    (dict(action="status", status=401), ["401", "HF_TOKEN"]), (dict(action="status", status=403), ["403", "HF_TOKEN"]),
    (dict(action="status", status=404), ["404"]), (dict(action="status", status=416), ["416"]), (dict(action="status", status=500), ["500"]),
    (dict(action="status", status=418), ["418"]), (dict(action="status", status=429, headers={"Retry-After": "86400"}), ["429", "86400"]),
    (dict(action="page"), ["web page", "login"]), (dict(action="pointer"), ["Git-LFS pointer"]), (dict(action="gzip"), ["packed"]),
    (dict(action="silent"), ["silent"]), (dict(action="cut", after=0), ["broke"])], ids=lambda f: f["action"] + str(f.get("status", "")) if isinstance(f, dict) else "")
def test_what_does_not_is_named(pull, hub, file, fault, says):
    hub.faults.append(Fault(file, **fault))
    text = pull.fails("pull", f"hf:{REPOSITORY}", *QUICK, says=["m-Q8_0.gguf", *says])
    assert "secret" not in text
    assert_nothing_left(pull)
    # And once the hub is itself again, the same command does it.
    hub.faults.clear()
    pull("pull", f"hf:{REPOSITORY}", *QUICK)
    assert_right(pull, hub)


# The same for the list of files.
@pytest.mark.parametrize("fault, says", [
    (dict(action="status", status=401, headers={"X-Error-Code": "RepoNotFound"}), ["401", "token"]),
    (dict(action="status", status=403, headers={"X-Error-Code": "GatedRepo"}), ["conditions", "HF_TOKEN"]), (dict(action="status", status=404), ["404"]),
    (dict(action="status", status=500), ["500"]), (dict(action="page"), ["web page"]), (dict(action="loop"), ["nowhere"]), (dict(action="silent"), ["silent"]),
    (dict(action="status", status=407), ["proxy"])], ids=lambda f: f["action"] + str(f.get("status", "")) if isinstance(f, dict) else "")
def test_the_list_misbehaves(pull, hub, file, fault, says):
    hub.faults.append(Fault("/api/models/", **fault))
    pull.fails("pull", f"hf:{REPOSITORY}", "--retries", "1", "--timeout", "1", says=says)


def test_a_server_without_ranges_serves_a_large_file(pull, hub):
    content = noise(1_000_000) * 40
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.faults.append(Fault("/store/", "whole"))
    pull("pull", f"hf:{REPOSITORY}")
    assert (snapshot(pull, hub) / "m-Q8_0.gguf").read_bytes() == content


def test_cut_at_any_byte(pull, hub):
    content = noise(5000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    chance = random.Random(1)
    hub.faults.extend(Fault("/store/", "cut", times=1, after=chance.randrange(5000)) for _ in range(6))
    pull("pull", f"hf:{REPOSITORY}", "--retries", "9")
    assert (snapshot(pull, hub) / "m-Q8_0.gguf").read_bytes() == content


def test_names_that_would_leave_the_store(pull, hub, tmp_path):
    outside = {"type": "file", "size": 4, "oid": "0" * 40}
    hub.extra_entries = [{**outside, "path": p} for p in ("../../evil.gguf", "/tmp/evil.gguf", "a/../../../evil.gguf", "x\x1b[2J.gguf", "$(reboot).gguf")]
    hub.add(REPOSITORY, {})
    pull.fails("pull", f"hf:{REPOSITORY}", says="evil.gguf")
    hub.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
    pull("pull", f"hf:{REPOSITORY}")
    assert_right(pull, hub)
    assert not [p for p in tmp_path.rglob("*evil*")]
    for name in ("hf:../../x/y", "hf:a/b@../../x", "hf:a/b:../../x", "hf:a b/c"):
        pull.fails("pull", name)


def test_another_source_of_the_same_digest(tmp_path, pull, hub, file):
    """The mirror has it right where the first hub has not; it gets no token."""
    mirror = LocalHub()
    try:
        mirror.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
        pull.environment["HF_TOKEN"] = "hf_secret"
        for fault in (dict(action="wrong_bytes"), dict(action="status", status=404), dict(action="page"), dict(action="wrong_range")):
            hub.faults[:] = [Fault(file, **fault)]
            pull("pull", f"hf:{REPOSITORY}", "--mirror", mirror.url, *QUICK)
            assert_right(pull, hub)
            pull("rm", f"hf:{REPOSITORY}")
        assert not [r for r in mirror.requests if "authorization" in r.headers]
    finally:
        mirror.stop()


def test_the_faster_source_is_used_when_the_first_is_slow(pull, hub):
    mirror = LocalHub()
    try:
        content = noise(12_000_000)
        hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
        mirror.add(REPOSITORY, {"m-Q8_0.gguf": content})
        hub.rate = 50_000
        begin = time.monotonic()
        pull("pull", f"hf:{REPOSITORY}", "--mirror", mirror.url)
        assert time.monotonic() - begin < 30  # alone the first would take a minute with its four connections
        assert mirror.sent > hub.sent
    finally:
        mirror.stop()


def test_a_hub_that_is_gone_leaves_the_other(pull, hub, tmp_path):
    content = noise(20_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    pull.environment["HF_ENDPOINT"] = "http://localhost:1"
    pull.home.mkdir()
    (pull.home / "catalogue.json").write_text(json.dumps({"version": 1, "models": [
        {"name": "both", "sources": [{"at": [f"hf:{REPOSITORY}", f"ms:{REPOSITORY}"]}]}]}))
    pull("pull", "both")
    assert open(pulled(pull)[0]["path"], "rb").read() == content
    pull.fails("pull", f"hf:{REPOSITORY}", says=["localhost:1", "cannot be reached"])


def test_tls(pull, tmp_path):
    certificate = tmp_path / "localhost.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"], check=True, capture_output=True)
    certificate.write_text((tmp_path / "key.pem").read_text() + (tmp_path / "cert.pem").read_text())
    hub = LocalHub(certificate)
    try:
        hub.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
        pull.environment["HF_ENDPOINT"] = hub.url
        pull.fails("pull", f"hf:{REPOSITORY}", says=["certificate", "not trusted", "SSL_CERT_FILE"])
        pull.environment["SSL_CERT_FILE"] = str(certificate)
        plain = LocalHub()
        try:
            hub.faults.append(Fault("/store/", "redirect", location=plain.url + "/x"))
            pull.fails("pull", f"hf:{REPOSITORY}", *QUICK, says="from https to plain http")
            assert not plain.requests
        finally:
            plain.stop()
        hub.faults.clear()
        pull("pull", f"hf:{REPOSITORY}")
        assert_right(pull, hub)
    finally:
        hub.stop()


def test_no_room(pull, hub, file, tmp_path):
    hub.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
    # A list that promises more than any disk has.
    hub.extra_entries = [{"type": "file", "path": "big-Q4_0.gguf", "size": 10**13, "oid": "0" * 40, "lfs": {"oid": "1" * 64, "size": 10**13}}]
    asked = len(hub.paths("/store/"))
    pull.fails("pull", f"hf:{REPOSITORY}:q4_0", says=["needs 10.0 TB more", "free", "HF_HUB_CACHE"])
    assert len(hub.paths("/store/")) == asked, "before the first byte"


def in_namespace(pull, tmp_path, script):
    """A script as root of a mount namespace of its own, where it may make file systems; needs no rights outside."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "none", tmp_path], capture_output=True).returncode != 0:
        pytest.skip("no mount namespaces for users here (unshare -rm)")
    (tmp_path / "disk").mkdir()
    environment = {**pull.environment, "HF_HUB_CACHE": f"{tmp_path}/disk/hub", "DISK": f"{tmp_path}/disk", "OUT": str(tmp_path), "HADAL": PROGRAM,
                   "MODEL": f"hf:{REPOSITORY}"}
    done = subprocess.run(["unshare", "-rm", "bash", "-euc", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def test_a_disk_that_fills_up_meanwhile(pull, hub, tmp_path):
    """The message has the figures and the next step; what was fetched by then is kept even on the full disk."""
    content = noise(12_000_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    # Another program takes the rest of the disk once a third of the file has come.
    text = in_namespace(pull, tmp_path, """
        mount -t tmpfs -o size=100m none $DISK
        $HADAL pull $MODEL --limit-rate 3M 2> $OUT/first & pull=$!
        blobs=$DISK/hub/models--deepseek-test--tiny-GGUF/blobs
        until [ $(stat -c %b $blobs/*.hadal-part 2> /dev/null || echo 0) -gt 8000 ]; do sleep 0.05; done
        dd if=/dev/zero of=$DISK/other bs=64k status=none 2> /dev/null || true
        status=0; wait $pull || status=$?
        echo $status $(($(stat -c %b $blobs/*.hadal-part) * 512))
        cat $blobs/*.hadal-record > $OUT/record
        rm $DISK/other
        $HADAL pull $MODEL 2> $OUT/second
        sha256sum < $DISK/hub/models--*/snapshots/*/m-Q8_0.gguf
        ls $blobs
    """).splitlines()
    first, second = (tmp_path / "first").read_text(), (tmp_path / "second").read_text()
    status, written = map(int, text[0].split())
    assert status == 1 and f"the disk of {tmp_path}/disk" in first and "is full" in first, first
    assert "MB more are needed there and" in first and "are free" in first and "type the same command again" in first and "hadal rm" in first, first
    recorded = sum(int(e) - int(b) for b, e in (line.split("-") for line in (tmp_path / "record").read_text().splitlines()[4:-1]))
    assert recorded > written - 1_000_000, "what came before the disk was full is recorded all the same"
    assert "the rest is here" in second, second
    assert text[1].split()[0] == sha256(content)
    assert text[2:] == [sha256(content)], "nothing else is left"


def test_a_store_on_a_read_only_file_system(pull, hub, tmp_path):
    """Nothing can be fetched into it, and the sentence says so; what it has is used, as a copy that an office shares is."""
    hub.add(REPOSITORY, {"m-Q8_0.gguf": CONTENT})
    text = in_namespace(pull, tmp_path, """
        mount -t tmpfs -o size=100m none $DISK
        mount -o remount,ro $DISK
        $HADAL pull $MODEL 2> $OUT/refused && exit 9
        mount -o remount,rw $DISK
        $HADAL pull $MODEL 2> /dev/null
        rm $DISK/hub/CACHEDIR.TAG
        rm -r $HADAL_HOME/pulled
        mount -o remount,ro $DISK
        $HADAL pull $MODEL 2> $OUT/here
        HF_HUB_OFFLINE=1 $HADAL pull $MODEL 2> $OUT/offline
        HF_HUB_OFFLINE=1 $HADAL list --json
    """)
    refused = (tmp_path / "refused").read_text()
    assert "read-only file system" in refused and "HF_HUB_CACHE" in refused and "type the command again" in refused, refused
    assert "is here already" in (tmp_path / "here").read_text()
    assert [m["name"] for m in json.loads(text)] == [f"hf:{REPOSITORY}:q8_0"]
    assert hub.sent == len(CONTENT)


def test_a_write_that_fails_is_named(pull, hub, file):
    limited = subprocess.run(["bash", "-c", f"ulimit -f 100; exec '{PROGRAM}' pull hf:{REPOSITORY}"], env=pull.environment, capture_output=True)
    assert limited.returncode == 1, limited
    assert b"ulimit -f" in limited.stderr, limited.stderr
    pull("pull", f"hf:{REPOSITORY}")
    assert_right(pull, hub)


def test_a_store_that_cannot_be_written(pull, hub, file, tmp_path):
    for target in ("blocked", "blocked/deeper"):
        (tmp_path / "blocked").write_text("a file where a folder should be") if not (tmp_path / "blocked").exists() else None
        pull.environment["HF_HUB_CACHE"] = str(tmp_path / target)
        pull.fails("pull", f"hf:{REPOSITORY}", says=["blocked"])
    readonly = "/proc/hadal"
    pull.environment["HF_HUB_CACHE"] = readonly
    pull.fails("pull", f"hf:{REPOSITORY}", says=readonly)


def test_killed_at_random_moments(pull, hub):
    """kill -9, fifty times (or HADAL_TEST_KILLS): each time it goes on, never fetching again what was recorded; the digest is right in the end."""
    content = noise(8_000_000)
    hub.add(REPOSITORY, {"m-Q8_0.gguf": content})
    hub.rate = 100_000
    blobs = pull.cache / f"models--{REPOSITORY.replace('/', '--')}/blobs"
    record = blobs / f"{sha256(content)}.hadal-record"
    chance = random.Random(7)

    def recorded():
        if not record.exists():
            return 0
        lines = record.read_text().splitlines()
        assert lines[-1] == "end", "half a record is never seen"
        return sum(int(e) - int(b) for b, e in (line.split("-") for line in lines[4:-1]))

    kills, storm = 0, int(os.environ.get("HADAL_TEST_KILLS", "50"))
    while kills < storm:
        before = recorded()
        sent = hub.sent
        program = subprocess.Popen([PROGRAM, "pull", f"hf:{REPOSITORY}"], env=pull.environment, stderr=subprocess.PIPE)
        if chance.random() < 0.3:
            time.sleep(chance.random() * 0.1)
        else:  # until some more came, so that it gets somewhere
            end = time.monotonic() + chance.random() * 1.2
            while program.poll() is None and time.monotonic() < end:
                time.sleep(0.01)
        if program.poll() is not None:
            break
        program.send_signal(signal.SIGKILL)
        program.wait()
        kills += 1
        assert recorded() >= before, "what was recorded stays"
        repository = blobs.parent
        assert not list(repository.glob("refs/*")) and not list(repository.glob("snapshots/*/*")), "the client sees nothing unfinished"
    hub.rate = 0
    time.sleep(0.5)  # what the server still had in hand
    before, sent = recorded(), hub.sent
    text = pull("pull", f"hf:{REPOSITORY}").stderr.decode()
    assert (snapshot(pull, hub) / "m-Q8_0.gguf").read_bytes() == content
    assert hub.sent - sent <= len(content) - before, "what was recorded is not fetched again"
    assert kills == storm and before > 20_000 * storm, (kills, before)
    assert not list(blobs.glob("*hadal*"))
