"""``python -m bench``: figures of our driver and, if given by path, of another, on one API server, provider and
machine.

    make bench                                   all of it, some 15 minutes
    make bench DRIVER=/path/to/driver            side by side with another driver; REGISTRAR= and PROBE= likewise
    python -m bench --quick                two minutes
    python -m bench --only bursts,memory   some measures

Writes build/bench/report.md and build/bench/ratios.svg; a measure that failed stands in the report, and makes the exit
code 1. Needs root (or a user namespace) for mounts and, for all that is about a cluster, the programs of ``python -m
tests.cluster.build apiserver``; without them it measures with manifests and says so. Another driver needs the cluster;
where all three of another's are given, they are measured as a container too.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import container, endpoints, measures, report
from bench.children import ROOT
from bench.figures import Figures
from bench.measures import Effort
from bench.rig import BenchRig, settle
from bench.subjects import OURS, Driver, command_of
from tests.cluster import build
from tests.support import namespaces

OUTPUT = ROOT / "build" / "bench"
MEASURES = (
    "floor",
    "starts",
    "singles",
    "sequence",
    "bursts",
    "synced",
    "calls",
    "memory",
    "republish",
    "endpoints",
    "container",
    "limits",
    "soak",
    "outage",
    "crowd",
)
_ON_RUNNING_DRIVERS = {
    "singles": measures.singles,
    "sequence": measures.sequence,
    "bursts": measures.bursts,
    "synced": measures.synced_bursts,
}
PARTS = ("driver", "registrar", "probe")
NEED_CLUSTER = frozenset({"synced", "calls", "republish", "outage", "crowd"})


def main(argv: Sequence[str]) -> int:
    """Parse, measure, write."""
    options = _options(argv)
    namespaces.enter_private()
    cluster = not options.manifests and not build.GROUPS["apiserver"].missing
    if not cluster:
        print("without an API server: classes come from files, and nothing is written to a cluster", file=sys.stderr)
        if options.driver:
            raise SystemExit("another driver needs an API server: python -m tests.cluster.build apiserver")
    wanted = [
        name
        for name in MEASURES
        if (not options.only or name in options.only) and (cluster or name not in NEED_CLUSTER)
    ]
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-") as directory, BenchRig(Path(directory), cluster=cluster) as rig:
        rig.write_class("small")
        rig.write_class("large", "large")
        bench = Bench(rig, figures, options)
        bench.run(wanted, lambda: _write(bench, argv))
    print((OUTPUT / "report.md").read_text())
    drawn = report.chart(figures, "ours", bench.other, OUTPUT / "ratios.svg")
    print(
        f"{OUTPUT.relative_to(ROOT)}/report.md"
        + (", ratios.svg" if drawn else "; no chart without matplotlib: pip install -e '.[bench]'")
    )
    return 1 if bench.failed else 0


def _write(bench: "Bench", argv: Sequence[str]) -> None:
    head = report.about("python -m bench " + " ".join(argv), bench.other)
    text = report.markdown(bench.figures, "ours", bench.other, bench.calls, head, bench.failed)
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / "report.md").write_text(text)


class Bench:
    """One run: the drivers and containers of it, its measures by name, and what came of them."""

    def __init__(self, rig: BenchRig, figures: Figures, options: argparse.Namespace) -> None:
        self.rig, self.figures, self.options = rig, figures, options
        self.calls: measures.CallsOf = {}
        self.failed: dict[str, str] = {}
        self.effort = Effort.quick() if options.quick else Effort()
        self.other = "theirs" if options.driver or options.registrar or options.probe else None
        others = {name: command_of(getattr(options, name)) for name in PARTS if getattr(options, name)}
        self.commands = {"ours": OURS, **({"theirs": others["driver"]} if "driver" in others else {})}
        self.drivers = [Driver(name, command, rig) for name, command in self.commands.items()]
        self.containers = {"ours": container.OURS, **({"theirs": others} if len(others) == len(PARTS) else {})}

    def run(self, wanted: Sequence[str], write: Callable[[], None]) -> None:
        """The wanted measures, in their order; a failed one is told and the others go on. ``write`` is called after
        each: who interrupts a long run keeps what it has found."""
        try:
            for name in wanted:
                print(f"… {name}", file=sys.stderr, flush=True)
                try:
                    self._measure(name)
                except (RuntimeError, TimeoutError, AssertionError) as error:
                    self.failed[name] = str(error)
                    print(f"  {name} failed: {error}", file=sys.stderr, flush=True)
                write()
        finally:
            self._stopped()

    def _measure(self, name: str) -> None:
        rig, figures, effort = self.rig, self.figures, self.effort
        if name == "floor":
            measures.floor(rig, figures)
        elif name == "starts":
            measures.starts(self._stopped(), figures, effort)
        elif name in _ON_RUNNING_DRIVERS:
            _ON_RUNNING_DRIVERS[name](self._running(), figures, effort)
        elif name == "calls":
            measures.calls(rig, self._stopped(), figures, self.calls)
        elif name == "memory":
            measures.memory(self._stopped(), figures)
        elif name == "republish":
            self._stopped()
            measures.republish(rig, self._rotating(), figures, self.calls, effort)
        elif name == "endpoints":
            endpoints.measure(rig, self._running()[0], figures, effort, self.options.registrar, self.options.probe)
        elif name == "container":
            self._stopped()
            container.measure(rig, self.containers, figures, effort)
        elif name == "limits":
            self._stopped()
            container.measure_limited(rig, self.containers, figures, effort)
        elif name == "soak":
            endpoints.soak(rig, self._running()[0], figures, effort)
        elif name == "outage" and effort.outage:
            measures.outage(rig, self._running(), figures, effort)
        elif name == "crowd":
            self._stopped()
            measures.memory_with_one_class(self.drivers, figures, "driver_one")
            measures.crowd(rig, effort.objects)
            measures.memory_with_one_class(self.drivers, figures, "driver_large")
            measures.growth(self.drivers, figures)
            self._stopped()
            container.measure_in_crowd(rig, self.containers, figures)

    def _running(self) -> list[Driver]:
        for driver in self.drivers:
            if driver.child is None:
                driver.start()
                settle(2.0)
        return self.drivers

    def _stopped(self) -> list[Driver]:
        for driver in self.drivers:
            driver.stop()
        return self.drivers

    def _rotating(self) -> list[Driver]:
        flags = ("--enable-secret-rotation", "--rotation-poll-interval=2s")
        return [Driver(f"{name}-rotating", command, self.rig, flags) for name, command in self.commands.items()]


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench", description="Measure the driver; see the module's first lines."
    )
    for name in PARTS:
        parser.add_argument(
            f"--{name}", default=os.environ.get(name.upper(), ""), help=f"another {name}'s path, or ${name.upper()}"
        )
    parser.add_argument("--quick", action="store_true", help="fewer rounds and objects")
    parser.add_argument("--manifests", action="store_true", help="no API server, even if its programs are there")
    parser.add_argument("--only", type=lambda text: text.split(","), default=[], help=f"some of {','.join(MEASURES)}")
    options = parser.parse_args(argv)
    if unknown := set(options.only) - set(MEASURES):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
