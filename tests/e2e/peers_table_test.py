"""bench/peers: how measured rounds become the table of ratios. Nothing is installed or measured here."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "bench"))

from peering import install, programs, table, work  # noqa: E402

PROGRAMS = ("hadal", "llama.cpp", "OpenVINO")


def short_round(hadal, llama_on, llama_off, openvino, read=90, roof=70):
    """Of short-Q4_0: each speed is decode's; prefill is ten times that."""
    def figures(speed):
        return {"decode": speed, "prompt-512": 10 * speed, "first-token": 51.2 / speed, "memory": 2_000_000_000}
    return {"file_bytes": 1_000_000_000,
            "hadal": {"": {**figures(hadal), "memory": 1_200_000_000, "cache_bytes": 100_000_000, "decode-read": read, "prompt-512-roof": roof,
                           "first-token-8": 0.1}},
            "llama.cpp": {"fa on": figures(llama_on), **({"fa off": figures(llama_off)} if llama_off else {})},
            "OpenVINO": {"paged": openvino if isinstance(openvino, dict) else figures(openvino)}}


def results(rounds):
    return {"title": "A machine", "command": "bench/peers", "date": "2026-01-02", "threads": 2, "runs": {"short-Q4_0": rounds},
            "versions": {"hadal": "1", "llama.cpp": "2", "OpenVINO": "3"}}


def line(found, figure):
    return next(one for one in table.lines(found, PROGRAMS) if one.row.figure == figure)


ROUNDS = [short_round(20, 18, 25, 10), short_round(24, 18, None, 12), short_round(22, 16, None, 11)]


def test_a_peer_is_shown_by_its_best_variant_and_hadal_divided_by_the_best_peer():
    rounds = [short_round(20, 18, 19, 10), short_round(24, 21, 20, 12), short_round(22, 16, 20, 11)]
    decode = line(results(rounds), "decode")
    assert decode.best_peer == "llama.cpp"
    assert decode.cell("llama.cpp") == "20.0 (19.0 to 20.0), fa off"
    assert decode.ratios() == [20 / 19, 24 / 20, 22 / 20]
    assert decode.cells()[4] == "1.10 (1.05 to 1.20) of llama.cpp"


def test_a_variant_of_the_first_round_alone_counts_where_it_is_the_best():
    decode = line(results(ROUNDS), "decode")
    assert decode.cell("llama.cpp") == "25.0, fa off"
    assert decode.ratios() == [20 / 25]


@pytest.mark.parametrize("read, speed, met, words", [
    (90, 20, [True, True], "yes"), (80, 20, [False, True], "no (85% of read: no, 0.97x: yes)"),
    (90, 19, [True, False], "no (85% of read: yes, 0.97x: no)"), (84.9, 10, [False, False], "no")])
def test_a_floor_is_met_when_its_share_and_its_ratio_are(read, speed, met, words):
    decode = line(results([short_round(speed, 20, None, 10, read=read)]), "decode")
    assert decode.floor() == ("85% of read, 0.97x", met)
    assert decode.cells()[-1] == words


def test_time_to_first_token_is_held_to_the_floor_of_the_prompt():
    found = results([short_round(20, 10, None, 8, roof=80)])  # prefill 200, the best peer 100, roof 250
    # The floor of prefill is the greater of 60% of the roof and 1.2 times the peer: 150.
    assert table.first_token_limit(found, PROGRAMS) == pytest.approx(512 / 150 + 0.2)
    assert line(found, "first-token").floor()[1] == [True]
    slow = results([short_round(10, 10, None, 8, roof=40)])
    assert line(slow, "first-token").floor()[1] == [False]


def test_memory_is_a_multiple_of_file_and_cache():
    memory = line(results(ROUNDS), "memory")
    assert memory.cell("hadal") == "1.09 (1.09 to 1.09)"
    assert memory.cell("llama.cpp") == "1.82 (1.82 to 1.82), fa on"
    assert memory.floor() == ("1.25", [True])
    assert memory.best_peer == "OpenVINO" or memory.best_peer == "llama.cpp"


def test_start_is_held_to_a_second_and_a_prompt_of_eight():
    found = results(ROUNDS)
    found["runs"]["start"] = [{"file_bytes": 1, "hadal": {"": {"start": 1.05}}, "llama.cpp": {"fa on": {"start": 2.1}}, "OpenVINO": {}}]
    start = next(one for one in table.lines(found, PROGRAMS) if one.row.figure == "start")
    assert start.floor() == ("1.10 s", [True])
    assert start.best_peer == "llama.cpp" and start.ratios() == [0.5]
    assert start.cell("OpenVINO") == "not run"


def test_what_cannot_run_says_why_and_is_no_peer():
    found = results([short_round(20, 18, None, {"failed": "cannot load it"})])
    decode = line(found, "decode")
    assert decode.cell("OpenVINO") == "cannot load it"
    assert decode.best_peer == "llama.cpp"
    alone = {"file_bytes": 1, "hadal": {"": {"failed": "no memory"}}, "llama.cpp": {}, "OpenVINO": {}}
    cells = line(results([alone]), "decode").cells()
    assert cells[1:] == ["no memory", "not run", "not run", "", "", "", ""]


def test_variants_that_are_best_somewhere_run_on():
    rows = [row for row in work.ROWS if row.run == "short-Q4_0"]
    first = [short_round(20, 18, 25, 10)]
    first[0]["llama.cpp"]["fa on"]["prompt-512"] = 1000
    assert table.kept_variants(first, "llama.cpp", rows) == {"fa on", "fa off"}
    first[0]["llama.cpp"]["fa on"] = {"failed": "no"}
    assert table.kept_variants(first, "llama.cpp", rows) == {"fa off"}


def test_a_machines_section_is_replaced_and_the_others_stay():
    document = f"# Numbers\n\n{table.BEGIN}\n{table.END}\nrest\n"
    one = table.with_section(document, "one", "first text")
    both = table.with_section(one, "two", "second text")
    again = table.with_section(both, "one", r"new \1 text")
    assert "first text" in both and "second text" in both
    assert "first text" not in again and r"new \1 text" in again and "second text" in again
    assert again.startswith("# Numbers\n\n") and again.endswith("\nrest\n")
    assert table.with_section(again, "one", r"new \1 text") == again
    for wrong in ("", table.BEGIN, f"{table.END}{table.BEGIN}"):
        with pytest.raises(ValueError):
            table.with_section(wrong, "one", "text")


def test_the_section_names_command_versions_and_rounds():
    text = table.section(results(ROUNDS), PROGRAMS)
    assert text.startswith("### A machine\n\n`bench/peers`, 2026-01-02: hadal 1; llama.cpp 2; OpenVINO 3. 2 threads;")
    assert "of 3 rounds" in text
    rows = [row for row in text.splitlines() if row.startswith("| 1.5B")]
    assert len(rows) == 4  # of the run that was measured
    assert len({row.count("|") for row in text.splitlines() if row.startswith("|")}) == 1


def test_every_row_has_a_run_and_every_package_is_pinned():
    assert all(row.run in work.RUNS for row in work.ROWS)
    assert {model.file_name for model in {run.model for run in work.RUNS.values()}} == {
        "r1-distill-qwen-1.5b-q4_0.gguf", "r1-distill-qwen-1.5b-q4_k_m.gguf", "r1-distill-qwen-1.5b-q8_0.gguf",
        "deepseek-v2-lite-q4_0.gguf"}
    assert set(install.versions()) == {"llama.cpp", "OpenVINO"}


@pytest.mark.parametrize("words, says", [
    (["--runs", "nothing"], "no run is called nothing"), (["--rounds", "0"], "at least 1"), (["--peers", "another"], "no peer is called"),
    (["--instruction-set", "sse"], "invalid choice")])
def test_usage_errors(words, says):
    done = subprocess.run([sys.executable, ROOT / "bench/peers", *words], capture_output=True, text=True)
    assert done.returncode == 2 and says in done.stderr


def test_list_names_runs_and_rows():
    done = subprocess.run([sys.executable, ROOT / "bench/peers", "--list"], capture_output=True, text=True)
    assert done.returncode == 0
    assert all(run in done.stdout for run in work.RUNS) and all(row.name in done.stdout for row in work.ROWS)


def test_a_process_is_measured_and_one_beside_busy_others_is_not(tmp_path):
    script = "import sys; print('words'); sys.stderr.write('reason\\n'); sys.exit(int(sys.argv[1]))"
    anything = programs.Setting(others_share_max=2)
    measured = programs.execute([sys.executable, "-c", script, "0"], anything)
    assert measured["out"] == "words\n" and measured["seconds"] > 0 and measured["peak_memory_bytes"] > 1_000_000
    assert 0 <= measured["others_share"] <= 1.5  # of all processors, by clocks that differ a little
    with pytest.raises(programs.Failed, match="ended with 3: reason"):
        programs.execute([sys.executable, "-c", script, "3"], anything)
    with pytest.raises(programs.Failed, match="the machine was busy"):
        programs.execute([sys.executable, "-c", script, "0"], programs.Setting(others_share_max=-1, attempts=2))
    with pytest.raises(programs.Failed, match="ended from outside"):
        programs.execute(["anything"], programs.Setting(prefix=("false",), others_share_max=2))
