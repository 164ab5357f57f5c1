"""The guard itself: that it complains of what is dearer, and says why it does not look. Needs neither valgrind nor the real program."""

import pathlib
import stat
import subprocess
import sys

import pytest

import instructions
from instructions import Count, Table

TABLE = Table("g++ 12", {"matmul q4_0 1": Count(0.2, "multiply-add"), "swiglu": Count(3.0, "value")})


def test_the_table_itself_is_held():
    lines, held = instructions.judge(TABLE.counts, TABLE)
    assert held and len(lines) == 2


def test_what_is_dearer_is_named_with_both_counts():
    lines, held = instructions.judge({**TABLE.counts, "swiglu": Count(3.3, "value")}, TABLE)
    assert not held
    assert lines[1] == "swiglu: 3.3000 instructions a value, 3.0000 in the table (+10.0%): DEARER than the 3% allowed"
    assert "DEARER" not in lines[0]


@pytest.mark.parametrize("factor, held", [(0.1, True), (1.029, True), (1.031, False)])
def test_a_few_percent_more_and_any_less_is_held(factor, held):
    assert instructions.judge({**TABLE.counts, "swiglu": Count(3.0 * factor, "value")}, TABLE)[1] == held


def test_a_kernel_that_only_one_side_knows_is_not_held():
    lines, held = instructions.judge({"swiglu": TABLE.counts["swiglu"]}, TABLE)
    assert not held and lines[0] == "matmul q4_0 1: in the table, but not counted"
    lines, held = instructions.judge({**TABLE.counts, "rope": Count(1.0, "value")}, TABLE)
    assert not held and lines[2] == "rope: not in the table"


def test_the_table_is_read_as_it_is_written(tmp_path):
    instructions.write_table(tmp_path / "table.tsv", *TABLE)
    assert instructions.read_table(tmp_path / "table.tsv") == TABLE
    assert instructions.read_table(instructions.TABLE).counts, "the one in the repository"


def program(tmp_path, script):
    path = tmp_path / "build" / "tests" / "guard" / "counted_ops"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    instructions.write_table(tmp_path / "table.tsv", *TABLE)
    return [tmp_path / "build", "--table", tmp_path / "table.tsv"]


def guard(arguments, path="/usr/bin:/bin"):
    script = pathlib.Path(instructions.__file__)
    return subprocess.run([sys.executable, script, *arguments], capture_output=True, text=True, env={"PATH": path}, timeout=60)


def test_another_compiler_is_skipped_and_said(tmp_path):
    done = guard(program(tmp_path, "echo clang 16"))
    assert (done.returncode, done.stdout) == (77, "Skipped: the table holds for g++ 12; this was built with clang 16.\n")


def test_without_valgrind_it_is_skipped_and_said(tmp_path):
    done = guard(program(tmp_path, "echo g++ 12"), path=str(tmp_path))
    assert (done.returncode, done.stdout) == (77, "Skipped: valgrind is not here (Debian: apt-get install valgrind).\n")


def test_without_avx2_it_is_skipped_and_said(tmp_path):
    arguments = program(tmp_path, '[ "$1" = --built-with ] && echo g++ 12 && exit; echo "This processor has no AVX2"; exit 77')
    (tmp_path / "valgrind").write_text("#!/bin/sh\nfor word; do :; done\nexec $word\n")
    (tmp_path / "valgrind").chmod(0o755)
    done = guard(arguments, path=f"{tmp_path}:/usr/bin:/bin")
    assert (done.returncode, done.stdout) == (77, "Skipped: This processor has no AVX2.\n")


def test_a_program_that_fails_is_no_success(tmp_path):
    done = guard(program(tmp_path, "echo nonsense >&2; exit 3"))
    assert done.returncode == 1 and "ended with 3" in done.stdout and "nonsense" in done.stdout


def fake_valgrind(tmp_path, files):
    """Runs nothing: leaves callgrind's files as `files` has them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "valgrind").write_text(
        "#!/bin/sh\nfor word; do case $word in --callgrind-out-file=*) out=${word#*=};; esac; done\n"
        + "".join(f'echo "totals: {total}" > $out.{number}\n' for number, total in files)
        + "printf 'matmul q4_0 1\\t1000\\tmultiply-add\\nswiglu\\t100\\tvalue\\n'\n")
    (folder / "valgrind").chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_counts_meet_their_names(tmp_path):
    arguments = program(tmp_path, "echo g++ 12")
    path = fake_valgrind(tmp_path, [(1, 200), (2, 330)])
    done = guard(arguments, path)
    assert done.returncode == 1
    assert "matmul q4_0 1: 0.2000 instructions a multiply-add, 0.2000 in the table (+0.0%)\n" in done.stdout
    assert "(+10.0%): DEARER" in done.stdout and "--accept" in done.stdout
    assert guard([*arguments, "--accept"], path).returncode == 0
    assert guard(arguments, path).returncode == 0, "what was accepted is held"


def test_more_or_fewer_counts_than_pieces_are_no_success(tmp_path):
    arguments = program(tmp_path, "echo g++ 12")
    done = guard(arguments, fake_valgrind(tmp_path, [(1, 200)]))
    assert done.returncode == 1 and "2 pieces of work" in done.stdout
