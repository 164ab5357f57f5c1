"""Runs a command and writes what it took and printed: python measured_process.py RESULT.json COMMAND...

A process of its own, so that whatever bench/peers puts before it (--prefix) is not measured."""

import json
import os
import pathlib
import subprocess
import sys
import time


def main():
    result, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
    begin = time.monotonic()
    with open(f"{result}.out", "w+b") as out, open(f"{result}.err", "w+b") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        result.write_text(json.dumps({
            "status": process.returncode, "seconds": seconds, "peak_memory_bytes": usage.ru_maxrss * 1024,
            "out": out.read().decode(errors="replace"), "err": err.read().decode(errors="replace")[-4000:]}))


main()
