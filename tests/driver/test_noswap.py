"""A kernel whose tmpfs has no ``noswap``: whoever relies on it is told."""

import asyncio
from pathlib import Path

import pytest

from driver.volume import mounts
from tests.support.rig import rig


@pytest.mark.parametrize(
    ("noswap", "swap", "words", "level"),
    [
        (False, True, "may be swapped to disk", "WARNING"),
        (False, False, "the node has no swap now", "INFO"),
        (True, True, "", ""),
    ],
)
def test_noswap(
    tmp_path: Path,
    noswap: bool,
    swap: bool,
    words: str,
    level: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """noswap is not in force → one line at start, a warning if there is swap, and /status and a metric say so. It is →
    no line. Volumes are published either way."""
    monkeypatch.setattr(mounts, "swap_is_on", lambda: swap)
    real = mounts.mount_tmpfs
    asked: list[bool] = []

    def mount_tmpfs(path: str, *, noswap: bool, **options: object) -> None:
        asked.append(noswap)
        real(path, noswap=False, **options)  # type: ignore[arg-type]  # passed on as they are

    monkeypatch.setattr(mounts, "probe_noswap", lambda: noswap)
    monkeypatch.setattr(mounts, "mount_tmpfs", mount_tmpfs)
    caplog.set_level("INFO")

    async def run() -> None:
        async with rig(tmp_path) as it:
            lines = [(item.getMessage(), item.levelname) for item in caplog.records if "noswap" in item.getMessage()]
            assert [(words in line, found) for line, found in lines] == ([(True, level)] if words else [])
            assert it.driver.snapshot()["noswap"] is noswap
            assert it.driver.metrics.registry.get_sample_value("secrets_store_noswap") == float(noswap)
            await it.volume().publish()
            assert asked == [noswap]

    asyncio.run(run())
