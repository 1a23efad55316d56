"""The command: ``python -m tests.faults.storm --seed 1 --minutes 10``."""

import argparse
import asyncio
import logging
import signal
import sys
import tempfile
from pathlib import Path

from tests.support import namespaces

# How much of the run is without faults: it settles, and volumes are churned.
CALM_SHARE = 0.2


def main() -> int:
    """Run one storm and print its summary; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--per-second", type=float, default=2.5, help="faults a second")
    parser.add_argument("--without", default="", help="kinds to leave out, comma-separated")
    parser.add_argument("--churned", type=int, default=0, help="volumes that come and go at the end; default: by time")
    parser.add_argument("--journal", default="", help="file for all that happened, and for the container's last lines")
    arguments = parser.parse_args()
    namespaces.enter_private()
    logging.disable()  # the kubelet stub's
    for number in (signal.SIGINT, signal.SIGTERM):  # also when a shell has started this in the background
        signal.signal(number, signal.default_int_handler)
    from tests.faults.storm.storm import Options, run  # after the namespace, which a process with threads cannot leave

    seconds = arguments.minutes * 60 * (1 - CALM_SHARE)
    churned = arguments.churned or max(200, int(1000 * arguments.minutes))
    options = Options(arguments.seed, seconds, arguments.per_second, arguments.without.split(","), churned)
    print(f"storm: seed {options.seed}, faults for {seconds:g} s", flush=True)
    with tempfile.TemporaryDirectory(prefix="s-") as directory:
        summary = asyncio.run(run(Path(directory), options))
    if arguments.journal:
        Path(arguments.journal).write_text("\n".join([*summary.journal, "", *summary.lines]) + "\n")
    print(summary.text())
    return 1 if summary.violations else 0


if __name__ == "__main__":
    sys.exit(main())
