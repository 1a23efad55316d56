"""Jobs of many nodes in one process."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from bench.nodes import worker


@dataclass
class Stub:
    """A node that does one thing, after some seconds; ``begun`` is shared by all."""

    seconds: float
    begun: list[float] = field(default_factory=list)

    async def publish(self, name: str) -> None:
        """Fails for the name ``bad``."""
        self.begun.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if name == "bad":
            raise ValueError("no")


def do(nodes: Sequence[Any], name: str = "good", **options: Any) -> dict[str, Any]:
    """The answer to a job."""
    return asyncio.run(worker.do(nodes, "publish", 0.2, [name], **options))


def test_the_last_one_counts() -> None:
    """Nodes that take different times → the time of the slowest, no failures."""
    done = do([Stub(0.0), Stub(0.1), Stub(0.0)])
    assert done["seconds"] >= 0.1 and done["failures"] == []


def test_failures_and_late_nodes() -> None:
    """A node that fails, and one that takes too long → both are failures, and nobody waits for the latter."""
    assert do([Stub(0.0)], "bad")["failures"] == ["ValueError('no')"]
    done = do([Stub(0.0), Stub(60.0)])
    assert done["failures"] == ["not done in 0.2 s"] and done["seconds"] < 30


@pytest.mark.parametrize("spread", [True, False])
def test_nodes_begin_at_once_or_after_one_another(monkeypatch: pytest.MonkeyPatch, spread: bool) -> None:
    """Four nodes → they begin at once, or each some time after the one before."""
    monkeypatch.setattr(worker, "INTERVAL", 0.02)
    begun: list[float] = []
    do([Stub(0.0, begun) for _ in range(4)], spread=spread)
    assert len(begun) == 4 and (begun[-1] - begun[0] >= 0.06) == spread
