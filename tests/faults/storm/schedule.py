"""Which fault strikes when: computed from the seed before anything starts, so that a run can be repeated."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.storm.kinds import KINDS


@dataclass(frozen=True)
class Step:
    """One fault: its kind, the moment in seconds from the start, how long it lasts, and a random number in [0, 1) for
    whatever else the kind has to choose."""

    number: int
    at: float
    kind: str
    seconds: float
    choice: float

    def __str__(self) -> str:
        return f"#{self.number} at {self.at:.2f} s: {self.kind} for {self.seconds:.2f} s ({self.choice:.4f})"


# Faults come in waves, with pauses in which pods get their volumes: what never works cannot be broken.
WAVE_SECONDS, CALM_SECONDS = 11.0, 4.0


def make(seed: int, seconds: float, per_second: float, without: Sequence[str] = ()) -> list[Step]:
    """The steps of a run, in order. Each round has every kind as often as its weight says, shuffled, so that even a
    short run has all that are frequent. ``per_second`` is the average of waves and pauses."""
    generator = random.Random(seed)
    kinds = [kind for kind in KINDS.values() if kind.name not in without]
    steps: list[Step] = []
    round_of: list[str] = []
    at = 0.0
    while True:
        at += generator.expovariate(per_second * (WAVE_SECONDS + CALM_SECONDS) / WAVE_SECONDS)
        moment = at + math.floor(at / WAVE_SECONDS) * CALM_SECONDS
        if moment >= seconds:
            return steps
        if not round_of:
            round_of = [kind.name for kind in kinds for _ in range(kind.weight)]
            generator.shuffle(round_of)
        kind = KINDS[round_of.pop()]
        shortest, longest = kind.seconds
        steps.append(Step(len(steps) + 1, moment, kind.name, generator.uniform(shortest, longest), generator.random()))
