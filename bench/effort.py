"""How much a run measures."""

import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Rounds of each measure, volumes published one by one (``singles``, ``sequence``), objects in a large cluster,
    whether the outage is measured, calls of a soak, SecretSyncs, and how long their controller is left alone.
    """

    rounds: int = 5
    singles: int = 100
    sequence: int = 1_000
    objects: int = 10_000
    outage: bool = True
    soak: int = 100_000
    secret_syncs: int = 1_000
    quiet_seconds: float = 60.0

    @staticmethod
    def quick() -> "Effort":
        """A first impression, in two or three minutes."""
        return Effort(
            rounds=2,
            singles=30,
            sequence=200,
            objects=500,
            outage=False,
            soak=5_000,
            secret_syncs=200,
            quiet_seconds=15.0,
        )


def settle(seconds: float) -> None:
    """Let running work finish before the next measurement: a pause, not a wait for a condition."""
    time.sleep(seconds)
