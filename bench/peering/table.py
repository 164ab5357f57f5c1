"""From the measured rounds to the table in docs/numbers.md: medians, ratios of pairs, floors. Every figure comes from the rounds."""

import re
import statistics

from .work import FIRST_TOKEN_SLACK_S, MEMORY_FLOOR, ROWS, RUNS, START_FLOOR_S

HADAL = "hadal"


def values(rounds, program, variant, figure):
    """By round; a round without the figure is left out. rounds: of one run, each {program: {variant: figures}}."""
    found = {}
    for number, measured in enumerate(rounds):
        figures = measured.get(program, {}).get(variant, {})
        if figure in figures:
            found[number] = figures[figure]
    return found


def best_variant(rounds, program, row):
    """(variant, values by round) with the best median; None where no round has the figure."""
    candidates = []
    for variant in {variant for measured in rounds for variant in measured.get(program, {})}:
        found = values(rounds, program, variant, row.figure)
        if found:
            median = statistics.median(found.values())
            candidates.append((-median if row.less_is_better else median, len(found), variant, found))
    if not candidates:
        return None
    variant, found = max(candidates, key=lambda candidate: candidate[:3])[2:]
    return variant, found


def kept_variants(rounds, program, figures_wanted):
    """The variants that are best in one of the rows; all where nothing is measured yet."""
    kept = set()
    for row in figures_wanted:
        if (best := best_variant(rounds, program, row)) is not None:
            kept.add(best[0])
    return kept


def number(value):
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(found):
    ordered = sorted(found)
    text = number(statistics.median(ordered))
    return text if len(ordered) < 2 else f"{text} ({number(ordered[0])} to {number(ordered[-1])})"


def failure(rounds, program):
    for measured in rounds:
        for figures in measured.get(program, {}).values():
            if "failed" in figures:
                return figures["failed"]
    return None


def divided(row, found, rounds):
    """Memory is told as a multiple of the file and the cache."""
    if row.figure != "memory":
        return found
    base = base_bytes(rounds)
    return {number: value / base for number, value in found.items()}


def base_bytes(rounds):
    figures = next(iter(rounds[-1][HADAL].values()))
    return rounds[-1]["file_bytes"] + figures["cache_bytes"]


def median_of(rounds, figure):
    found = values(rounds, HADAL, "", figure)
    return statistics.median(found.values()) if found else None


class Line:
    """One row of the table: cells, and whether the floor is met."""

    def __init__(self, row, results, programs):
        self.row, self.results = row, results
        self.rounds = results["runs"].get(row.run, [])
        self.programs = programs
        self.hadal = best_variant(self.rounds, HADAL, row)
        self.peers = {}
        for program in programs:
            if program != HADAL and (best := best_variant(self.rounds, program, row)) is not None:
                self.peers[program] = best
        self.best_peer = None
        if self.peers:
            better = min if row.less_is_better else max
            self.best_peer = better(self.peers, key=lambda program: statistics.median(self.peers[program][1].values()))

    def cell(self, program):
        best = self.hadal if program == HADAL else self.peers.get(program)
        if best is None:
            return failure(self.rounds, program) or "not run"
        variant, found = best
        text = spread(divided(self.row, found, self.rounds).values())
        return f"{text}, {variant}" if variant else text

    def ratios(self):
        """hadal's figure over the best peer's, in the rounds that have both."""
        if self.hadal is None or self.best_peer is None:
            return []
        peer = self.peers[self.best_peer][1]
        return [value / peer[number] for number, value in self.hadal[1].items() if number in peer]

    def share(self):
        return median_of(self.rounds, f"{self.row.figure}-{self.row.share}") if self.row.share else None

    def floor(self):
        """(what the floor is in words, [whether each part is met])"""
        if self.hadal is None:
            return "", []
        row = self.row
        mine = statistics.median(divided(row, self.hadal[1], self.rounds).values())
        if row.figure == "memory":
            return f"{MEMORY_FLOOR}", [mine <= MEMORY_FLOOR]
        if row.figure == "start":
            eight = median_of(self.results["runs"].get("short-Q4_0", []), "first-token-8")
            if eight is None:
                return "", []
            limit = START_FLOOR_S + eight
            return f"{number(limit)} s", [mine <= limit]
        if row.figure == "first-token":
            limit = first_token_limit(self.results, self.programs)
            return ("", []) if limit is None else (f"{number(limit)} s", [mine <= limit])
        words, met = [], []
        if row.share:
            share = self.share()
            words.append(f"{row.share_floor:.0f}% of {row.share}")
            met.append(share is not None and share >= row.share_floor)
        if ratios := self.ratios():
            words.append(f"{row.peer_floor:g}x")
            met.append(statistics.median(ratios) >= row.peer_floor)
        return ", ".join(words), met

    def cells(self):
        ratios = self.ratios()
        share = self.share()
        words, met = self.floor()
        verdict = "" if not met else "yes" if all(met) else "no" if not any(met) else "no (" + ", ".join(
            f"{word}: {'yes' if one else 'no'}" for word, one in zip(words.split(", "), met)) + ")"
        return [self.row.name + ("" if self.row.unit == "tokens/s" else f", {self.row.unit}" if self.row.unit != "x" else ""),
                *(self.cell(program) for program in self.programs),
                f"{spread(ratios)} of {self.best_peer}" if ratios else "",
                f"{share:.0f}% of {self.row.share}" if share else "",
                words, verdict]


def first_token_limit(results, programs):
    """Of 512 tokens: at the floor of prefill 512, and a fifth of a second."""
    row = next(row for row in ROWS if row.run == "short-Q4_0" and row.figure == "prompt-512")
    line = Line(row, results, programs)
    speeds = []
    if line.best_peer is not None:
        speeds.append(row.peer_floor * statistics.median(line.peers[line.best_peer][1].values()))
    if line.hadal is not None and line.share():
        speeds.append(row.share_floor / line.share() * statistics.median(line.hadal[1].values()))
    return 512 / max(speeds) + FIRST_TOKEN_SLACK_S if speeds else None


def lines(results, programs):
    return [Line(row, results, programs) for row in ROWS if row.run in results["runs"]]


def machine_lines(results):
    """The speeds that hadal measured beside, over all its runs."""
    machines = [figures["machine"] for rounds in results["runs"].values() for measured in rounds
                for figures in measured.get(HADAL, {}).values() if figures.get("machine")]
    told = []
    for name, words in (("read_bytes_per_s", "read {} GB/s"), ("peak_multiply_adds_per_s", "peak {} G multiply-adds/s"),
                        ("attention_peak_multiply_adds_per_s", "for attention {}")):
        found = [machine[name]["median"] / 1e9 for machine in machines if name in machine]
        if found:
            types = {machine[type] for machine in machines if (type := name.replace("per_s", "type")) in machine}
            told.append(words.format(spread(found)) + (f" ({', '.join(sorted(types))})" if types else ""))
    return f"Measured by hadal beside its runs: {'; '.join(told)}." if told else ""


def section(results, programs):
    heads = ["work", *programs, "hadal / best peer", "hadal's share", "floor", "met"]
    table = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for line in lines(results, programs):
        table.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in line.cells()) + " |")
    rounds = sorted({len(rounds) for rounds in results["runs"].values()})
    told = [f"### {results['title']}", "",
            f"`{results['command']}`, {results['date']}: hadal {results['versions']['hadal']}; "
            + "; ".join(f"{program} {results['versions'][program]}" for program in programs if program != HADAL)
            + f". {results['threads']} threads; median (least to most) of {' or '.join(map(str, rounds))} rounds, the programs in turn; "
            "ratios are medians over the rounds.", "", machine_lines(results), "", *table]
    return "\n".join(told)


BEGIN, END = "<!-- bench/peers begin -->", "<!-- bench/peers end -->"


def with_section(document, key, text):
    """docs/numbers.md with this machine's section replaced or added, between the markers."""
    if document.count(BEGIN) != 1 or document.count(END) != 1 or document.index(BEGIN) > document.index(END):
        raise ValueError(f"docs/numbers.md must have one line {BEGIN} and behind it one line {END}")
    before, rest = document.split(BEGIN)
    inside, after = rest.split(END)
    opened, closed = f"<!-- machine {key} -->", f"<!-- end of {key} -->"
    block = f"{opened}\n{text}\n{closed}"
    pattern = re.compile(re.escape(opened) + r".*?" + re.escape(closed), re.DOTALL)
    if pattern.search(inside):
        inside = pattern.sub(lambda _: block, inside)
    else:
        inside = inside.rstrip("\n") + f"\n\n{block}\n\n"
    return before + BEGIN + inside + END + after
