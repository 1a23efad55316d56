"""``python -m bench``: figures of this driver and, if given by path, of another, with the same API server, provider and
machine.

    make bench                              all measures, about 15 minutes
    make bench DRIVER=/path/to/driver       side by side with another driver; REGISTRAR= and PROBE= likewise
    make bench CONTAINER=/path/to/secrets-store-csi   side by side with the container of another version of this project
    python -m bench --quick                 two to three minutes
    python -m bench --only bursts,memory    some measures

Writes build/bench/report.md and build/bench/ratios.svg. A measure that fails is listed in the report, and makes the
exit code 1. Needs root (or a user namespace) for mounts and, for everything that involves a cluster, the programs built
by ``python -m tests.cluster.build apiserver``; without them it measures with manifests, and says so. Another driver
needs the cluster; if all three roles of another are given, they are measured as a container, too.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench import chart, report
from bench.figures import Figures
from bench.processes import ROOT
from bench.rig import BenchRig
from bench.run import MEASURES, NEED_CLUSTER, PARTS, Run
from tests.cluster import build
from tests.support import namespaces

OUTPUT = ROOT / "build" / "bench"


def main(argv: Sequence[str]) -> int:
    """Parse the options, measure, write the report; returns the exit code."""
    options = _options(argv)
    namespaces.enter_private()
    cluster = not options.manifests and not build.GROUPS["apiserver"].missing
    if not cluster:
        print("no API server: classes are read from files, and nothing is written to a cluster", file=sys.stderr)
        if options.driver:
            raise SystemExit("another driver needs an API server: python -m tests.cluster.build apiserver")
    names = [
        name
        for name in MEASURES
        if (not options.only or name in options.only) and (cluster or name not in NEED_CLUSTER)
    ]
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, BenchRig(Path(directory), cluster=cluster) as rig:
        rig.write_class("small")
        rig.write_class("large", "large")
        run = Run(rig, figures, options)
        run.take(names, lambda: _write(run, argv))
    print((OUTPUT / "report.md").read_text())
    drawn = chart.draw(figures, "ours", run.other, OUTPUT / "ratios.svg")
    print(
        f"{OUTPUT.relative_to(ROOT)}/report.md"
        + (", ratios.svg" if drawn else "; no chart without matplotlib: pip install -e '.[bench]'")
    )
    return 1 if run.failed else 0


def _write(run: Run, argv: Sequence[str]) -> None:
    head = report.about("python -m bench " + " ".join(argv), run.other)
    text = report.markdown(run.figures, "ours", run.other, run.calls, head, run.failed, run.rig.failed_calls.lines())
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "report.md").write_text(text)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the driver; see the docstring of bench/__main__.py."
    )
    for name in PARTS:
        parser.add_argument(
            f"--{name}",
            default=os.environ.get(name.upper(), ""),
            help=f"path of another {name}, by default ${name.upper()}",
        )
    parser.add_argument(
        "--container",
        default=os.environ.get("CONTAINER", ""),
        help="path of secrets-store-csi of another version of this project, by default $CONTAINER; instead of a "
        "container of the three parts",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and objects")
    parser.add_argument("--manifests", action="store_true", help="no API server, even if its programs were built")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help=f"some of {','.join(MEASURES)}")
    options = parser.parse_args(argv)
    if unknown := set(options.only) - set(MEASURES):
        parser.error(f"unknown measures: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
