"""Prints the coverage of each package from coverage's data, and fails where one is below its floor.

python -m tools.coverage_table           after `coverage combine`, which the tox environment `unit` calls

The floors are percentages in setup.cfg, section `coverage-floors`: `total` is that of all packages together. Lines
and branches count alike, as in `coverage report`. Exit codes: 0 no package is below its floor, 1 with one line on
stderr for each that is, 2 there is no data, or wrong usage.
"""

import configparser
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import coverage

ROOT = Path(__file__).resolve().parent.parent
TOTAL = "total"
_HEAD = f"{'package':<24}{'statements':>12}{'missed':>9}{'branches':>10}{'missed':>9}{'covered':>11}{'floor':>9}"


@dataclass(frozen=True)
class Count:
    """Statements and branches, and how many of them no test has reached."""

    statements: int = 0
    missed: int = 0
    branches: int = 0
    missed_branches: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(
            self.statements + other.statements,
            self.missed + other.missed,
            self.branches + other.branches,
            self.missed_branches + other.missed_branches,
        )

    @property
    def percent(self) -> float:
        """The part that was reached; 100 where there is nothing to reach."""
        whole = self.statements + self.branches
        return 100.0 if not whole else 100.0 * (whole - self.missed - self.missed_branches) / whole


def by_package(report: Mapping[str, Any]) -> dict[str, Count]:
    """The counts of coverage's JSON report for each folder (`driver/cluster`), each first folder with all below it
    (`driver`), and `total`."""
    counts: dict[str, Count] = {}
    for path, entry in report["files"].items():
        summary = entry["summary"]
        count = Count(
            summary["num_statements"], summary["missing_lines"], summary["num_branches"], summary["missing_branches"]
        )
        parts = PurePath(path).parts
        for name in {"/".join(parts[:-1]), parts[0], TOTAL}:
            counts[name] = counts.get(name, Count()) + count
    return counts


def table(counts: Mapping[str, Count], floors: Mapping[str, float]) -> Iterator[str]:
    """The lines of the table, the total last."""
    yield _HEAD
    for name in sorted(counts, key=lambda name: (name == TOTAL, name)):
        count = counts[name]
        depth = name.count("/")
        floor = f"{floors[name]:.0f} %" if name in floors else ""
        yield (
            f"{'  ' * depth + name:<24}{count.statements:>12}{count.missed:>9}{count.branches:>10}"
            f"{count.missed_branches:>9}{count.percent:>9.1f} %{floor:>9}"
        ).rstrip()


def shortfalls(counts: Mapping[str, Count], floors: Mapping[str, float]) -> Iterator[str]:
    """One sentence for each floor that is not held; a package that nothing has measured holds none."""
    for name, floor in floors.items():
        count = counts.get(name)
        if count is None or not count.statements:
            yield f"coverage: nothing of {name} was measured, and its floor is {floor:g} %"
        elif count.percent < floor:
            yield (
                f"coverage: {name} has {count.percent:.1f} %, and its floor is {floor:g} %: test what "
                f"`coverage report -m{f' --include={name}/*' if name != TOTAL else ''}` lists"
            )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    if sys.argv[1:] if arguments is None else arguments:
        print("usage: python -m tools.coverage_table", file=sys.stderr)
        return 2
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    floors = {name: float(value) for name, value in config["coverage-floors"].items()}
    try:
        counts = by_package(_report())
    except coverage.exceptions.CoverageException as error:
        print(f"coverage: {error}; run `tox run -e unit`", file=sys.stderr)
        return 2
    print("\n".join(table(counts, floors)))
    problems = list(shortfalls(counts, floors))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _report() -> Mapping[str, Any]:
    measured = coverage.Coverage(config_file=str(ROOT / "setup.cfg"))
    measured.load()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "coverage.json"
        measured.json_report(outfile=str(path))
        report: Mapping[str, Any] = json.loads(path.read_text())
    return report


if __name__ == "__main__":
    raise SystemExit(main())
