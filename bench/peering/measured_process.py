"""Runs a command and writes what it took and printed: python measured_process.py RESULT.json COMMAND...

A process of its own, so that whatever bench/peers puts before it (--prefix) is not measured."""

import json
import os
import pathlib
import subprocess
import sys
import time


def busy_seconds():
    """Of all processors together since the system started: user, nice, system, irq, softirq and stolen time."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


def main():
    result, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
    begin, busy_before = time.monotonic(), busy_seconds()
    with open(f"{result}.out", "w+b") as out, open(f"{result}.err", "w+b") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - begin
        others = max(0.0, busy_seconds() - busy_before - usage.ru_utime - usage.ru_stime) / (seconds * os.cpu_count())
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        result.write_text(json.dumps({
            "status": process.returncode, "seconds": seconds, "peak_memory_bytes": usage.ru_maxrss * 1024,
            "others_share": others,
            "out": out.read().decode(errors="replace"), "err": err.read().decode(errors="replace")[-4000:]}))


main()
