"""The memory of a process, with its part of what it shares."""

from pathlib import Path

import psutil
import pytest

from runtime import memory


def test_proportional_bytes() -> None:
    """Some memory, and not more than is resident."""
    assert 0 < memory.proportional_bytes() <= psutil.Process().memory_info().rss * 1.1


@pytest.mark.parametrize("content", [None, "", "Rss: 1 kB\n", "Pss:\n", "Pss: many kB\n"])
def test_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None) -> None:
    """The file is missing, or says something else → 0."""
    file = tmp_path / "smaps_rollup"
    if content is not None:
        file.write_text(content)
    monkeypatch.setattr(memory, "_FILE", str(file))
    assert memory.proportional_bytes() == 0
