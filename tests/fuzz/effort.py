"""How much is generated, from which seed, and how much it was.

In `make test` each test generates a little, always the same, so that a failure belongs to the change that is tested.
`make test-fuzz` (``__main__``) sets FUZZ_SEED and FUZZ_FACTOR: each test generates so many times as much, from that
seed.
"""

import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

SEED, FACTOR = "FUZZ_SEED", "FUZZ_FACTOR"

# Else it would create a directory of its own in the tree.
set_hypothesis_home_dir(Path(__file__).parents[2] / "build" / "hypothesis")


@dataclass
class Tally:
    """How many of one kind were generated, and between which moments (monotonic seconds)."""

    count: int
    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long that took."""
        return max(self.ended - self.began, 0.001)


TALLIES: dict[str, Tally] = {}


def tally(kind: str, count: int = 1) -> None:
    """Count what a test has generated; ``conftest`` prints the sums."""
    now = time.monotonic()
    known = TALLIES.setdefault(kind, Tally(0, now, now))
    known.count, known.ended = known.count + count, now


def scaled(count: int, most: int | None = None) -> int:
    """``count`` in `make test`, more in `make test-fuzz`, but never more than ``most``."""
    wanted = count * int(os.environ.get(FACTOR, "1"))
    return wanted if most is None else min(wanted, most)


def source(name: str) -> random.Random:
    """Random numbers for one test, from the seed."""
    return random.Random(f"{name} {os.environ.get(SEED, '0')}")


def fuzzed(examples: int, steps: int | None = None) -> settings:
    """The settings of a test: a decorator. ``steps`` is the length of a state machine's run."""
    exploring = SEED in os.environ
    # Examples are slow where they mount and start drivers, and the machine may be busy: no time limits.
    options: dict[str, Any] = {} if steps is None else {"stateful_step_count": steps}
    return settings(
        max_examples=scaled(examples),
        deadline=None,
        derandomize=not exploring,
        database=None,
        print_blob=exploring,
        suppress_health_check=list(HealthCheck),
        **options,
    )


def time_limit() -> float:
    """Seconds for one test: as for any other in `make test`, more in `make test-fuzz`."""
    return 120.0 * int(os.environ.get(FACTOR, "1"))
