"""``python -m bench.nodes 10 100``: clusters with so many nodes, first with this driver, then with the trio's calls.

    make bench-cluster NODES="10 100 300 1000"

Each node is a real client of one real API server; many of them are in one process. The report is build/bench/nodes.md;
``--page`` also puts its tables into docs/scale.md, which explains them. ``--add`` adds to the runs of earlier commands.
"""

import argparse
import sys
from collections.abc import Sequence

from bench import report
from bench.nodes import kept
from bench.nodes.page import replace_tables
from bench.nodes.result import KINDS, Result
from bench.nodes.run import Times, measure
from bench.nodes.table import tables
from bench.processes import ROOT
from tests.cluster import build
from tests.support import namespaces

OUTPUT = ROOT / "build" / "bench" / "nodes.md"
KEPT = OUTPUT.with_suffix(".json")
PAGE = ROOT / "docs" / "scale.md"


def main(argv: Sequence[str]) -> int:
    """Parse the options, measure, write the report; the exit code is 1 if a run was given up."""
    options = _options(argv)
    build.ensure("apiserver")
    namespaces.enter_private()
    former = kept.read(KEPT) if options.add else []
    results: list[Result] = []
    for count in options.nodes:
        for kind in options.kinds:
            print(f"{count} nodes, {kind}", flush=True)
            results.append(measure(kind, count, Times(phase=options.phase_seconds, run=options.run_seconds)))
            _write(kept.merge(former, results), argv)  # what there is, should a later run not end
    print(OUTPUT.read_text())
    if options.page:
        PAGE.write_text(replace_tables(PAGE.read_text(), OUTPUT.read_text()))
    return 1 if any(result.given_up for result in results) else 0


def _write(results: Sequence[Result], argv: Sequence[str]) -> None:
    head = report.machine("python -m bench.nodes " + " ".join(argv))
    kept.write(KEPT, results)
    OUTPUT.write_text("\n".join(head) + "\n\n" + tables(results))


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench.nodes", description="Measure what the drivers of many nodes cost one API server."
    )
    parser.add_argument("nodes", nargs="*", type=int, default=[10, 100], help="numbers of nodes; by default 10 and 100")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help="which drivers")
    parser.add_argument("--phase-seconds", type=float, default=120.0, help="the longest that a phase may take")
    parser.add_argument(
        "--run-seconds", type=float, default=float("inf"), help="the longest that all phases of a run may take"
    )
    parser.add_argument("--add", action="store_true", help="keep the runs of earlier commands in the table")
    parser.add_argument("--page", action="store_true", help="put the tables into docs/scale.md")
    return parser.parse_args(argv)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
