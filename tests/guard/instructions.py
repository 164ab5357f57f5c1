#!/usr/bin/env python3
"""Holds what kernels cost in instructions to a table: seconds on a shared machine cannot say it, a count can.

    tests/guard/instructions.py build/release             counts, and compares with instructions.tsv beside this file
    tests/guard/instructions.py build/release --accept    writes what was counted into the table

callgrind (Debian's valgrind) counts what a call of each op executes in tests/guard/counted_ops; AVX2 is the widest that it knows. The
same program gives the same counts whatever else the machine does. Exit status: 0 held, 1 something became dearer or could not be
counted, 77 skipped; the reason is said.
"""

import argparse
import collections
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

TABLE = pathlib.Path(__file__).with_name("instructions.tsv")
ALLOWED_PERCENT = 3  # above the table: another libc, the next point release of the compiler
SECONDS_MAX = 240
SKIPPED = 77
COUNTED_CALL = "hadal_counted_call"

Count = collections.namedtuple("Count", "per_unit unit")
Table = collections.namedtuple("Table", "built_with counts")  # counts: {name: Count}


class CannotCount(Exception):
    pass


class Skipped(Exception):
    pass


def run(command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, stdin=subprocess.DEVNULL)
    if done.returncode == SKIPPED:
        raise Skipped(done.stdout.strip())
    if done.returncode != 0:
        raise CannotCount(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout.splitlines()


def executed(path):
    """The instructions of one of callgrind's files: its line "totals: N"."""
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("totals:"):
                return int(line.split()[1])
    raise CannotCount(f"{path}: no totals")


def count(program):
    """{name: Count} of a program that says what it does, as counted_ops does."""
    valgrind = shutil.which("valgrind")
    if not valgrind:
        raise Skipped("valgrind is not here (Debian: apt-get install valgrind)")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "out")
        pieces = run([valgrind, "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}",
                      f"--toggle-collect={COUNTED_CALL}", f"--dump-after={COUNTED_CALL}", program])
        files = [f"{out}.{number}" for number in range(1, len(pieces) + 1)]
        if not pieces or not all(map(os.path.exists, files)) or os.path.exists(f"{out}.{len(pieces) + 1}"):
            raise CannotCount(f"{len(pieces)} pieces of work, but {sorted(os.listdir(folder))}")
        counts = {}
        for piece, path in zip(pieces, files):
            name, units, unit = piece.split("\t")
            counts[name] = Count(executed(path) / float(units), unit)
        return counts


def read_table(path):
    """Comments, a line "built with", then a line a kernel."""
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    counts = {}
    for line in lines[1:]:
        name, per_unit, unit = line.split("\t")
        counts[name] = Count(float(per_unit), unit)
    return Table(lines[0].partition("\t")[2], counts)


def write_table(path, built_with, counts):
    text = f"""# What the AVX2 kernels cost, in instructions: counted, not measured, by tests/guard/instructions.py.
# matmul FORMAT TOKENS; attention TYPE-OF-CACHE TOKENS@LENGTH. More than {ALLOWED_PERCENT}% above these counts fails; less never does.
# Another compiler makes other counts: a build by one is not compared. After a change that is meant to cost more, or to keep what one
# gained:  tests/guard/instructions.py build/release --accept
built with\t{built_with}
"""
    for name, (per_unit, unit) in counts.items():
        text += f"{name}\t{per_unit:.4f}\t{unit}\n"
    path.write_text(text, encoding="utf-8")


def judge(counts, table):
    """(lines to show, whether all is held)"""
    lines, held = [], True
    for name in sorted(set(counts) | set(table.counts), key=list({**table.counts, **counts}).index):
        if name not in counts or name not in table.counts:
            lines.append(f"{name}: {'in the table, but not counted' if name in table.counts else 'not in the table'}")
            held = False
            continue
        now, then = counts[name].per_unit, table.counts[name].per_unit
        percent = 100 * (now / then - 1)
        line = f"{name}: {now:.4f} instructions a {counts[name].unit}, {then:.4f} in the table ({round(percent, 1) + 0.0:+.1f}%)"
        if percent > ALLOWED_PERCENT:
            line += f": DEARER than the {ALLOWED_PERCENT}% allowed"
            held = False
        lines.append(line)
    return lines, held


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path, help="a build folder, as build/release")
    parser.add_argument("--table", type=pathlib.Path, default=TABLE)
    parser.add_argument("--accept", action="store_true", help="the table becomes what is counted now")
    options = parser.parse_args(arguments)
    program = options.build / "tests" / "guard" / "counted_ops"
    try:
        built_with = run([program, "--built-with"])[0]
        if not options.accept:
            table = read_table(options.table)
            if built_with != table.built_with:
                raise Skipped(f"the table holds for {table.built_with}; this was built with {built_with}")
        counts = count(program)
    except Skipped as skipped:
        print(f"Skipped: {skipped}.")
        return SKIPPED
    except (CannotCount, OSError, subprocess.TimeoutExpired) as error:
        print(f"Could not count: {error}")
        return 1
    if options.accept:
        write_table(options.table, built_with, counts)
        print(f"{options.table}: {len(counts)} kernels, built with {built_with}")
        return 0
    lines, held = judge(counts, table)
    print("\n".join(lines))
    if not held:
        print(f"\nIf it is meant so, this writes the table anew (commit it with the reason):  {' '.join(sys.argv)} --accept")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
