#!/usr/bin/env python3
"""hadal pull beside `curl -o F && sync F && sha256sum F`: the same file from the same local server, in turns.

    bench/pull.py [--megabytes 500] [--rounds 5] [--program build/release/hadal]

The server is the tests' hub in a process of its own. Prints each round and the ratio of the medians."""

import argparse
import hashlib
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
REPOSITORY = "bench/pull-GGUF"
SERVER = f"""
import hashlib, sys, time
sys.path.insert(0, {str(ROOT / "tests/e2e")!r})
from local_hub import LocalHub
hub = LocalHub()
block = b"".join(hashlib.sha256(b"%d" % i).digest() for i in range(1 << 15))
content = (block * (int(sys.argv[1]) * 1000000 // len(block) + 1))[:int(sys.argv[1]) * 1000000]
hub.add({REPOSITORY!r}, {{"m-Q8_0.gguf": content}})
print(hub.url, hub.store_url + "/store/" + hashlib.sha256(content).hexdigest(), flush=True)
sys.stdin.read()
"""


def timed(command, **options):
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--program", default=ROOT / "build/release/hadal")
    options = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(options.megabytes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    url, file = server.stdout.readline().split()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="hadal-bench-"))
    times = {"hadal": [], "curl": []}
    try:
        for turn in range(options.rounds):
            home = folder / f"home{turn}"
            environment = {**os.environ, "HF_ENDPOINT": url, "HADAL_HOME": str(home), "HF_HOME": str(home / "hf")}
            times["hadal"].append(timed([options.program, "pull", f"hf:{REPOSITORY}"], env=environment))
            shutil.rmtree(home)
            out = folder / "f"
            times["curl"].append(timed(["sh", "-c", f"curl -s -o {out} {file} && sync {out} && sha256sum {out}"]))
            out.unlink()
            print(f"round {turn + 1}: hadal {times['hadal'][-1]:.2f} s, curl + sync + sha256sum {times['curl'][-1]:.2f} s", flush=True)
    finally:
        server.terminate()
        shutil.rmtree(folder)
    hadal, curl = (statistics.median(times[name]) for name in ("hadal", "curl"))
    print(f"{options.megabytes} MB, median of {options.rounds}: hadal {hadal:.2f} s, curl + sync + sha256sum {curl:.2f} s, ratio {hadal / curl:.2f}")


if __name__ == "__main__":
    main()
