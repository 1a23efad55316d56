"""Whether the driver's own memory may be written to a swap."""

from pathlib import Path

import pytest

from driver.volume import memory, mounts


@pytest.mark.parametrize(
    "swaps, limit, expected",
    [(1, "max", False), (2, "max", True), (2, "0", False), (2, "4096", True), (2, None, True)],
    ids=["no swap", "not limited", "kept out of it", "some", "unknown"],
)
def test_may_be_swapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, swaps: int, limit: str | None, expected: bool
) -> None:
    """The node has swap or none, and a cgroup above the process's own keeps it out of it or not → whether the process's
    memory may reach a disk."""
    (tmp_path / "swaps").write_text("line\n" * swaps)
    (tmp_path / "self").write_text("0::/pod/container\n")
    (tmp_path / "cgroup" / "pod" / "container").mkdir(parents=True)
    if limit is not None:
        (tmp_path / "cgroup" / "pod" / "container" / "memory.swap.max").write_text("max\n")
        (tmp_path / "cgroup" / "pod" / "memory.swap.max").write_text(f"{limit}\n")
    monkeypatch.setattr(mounts, "SWAPS", tmp_path / "swaps")
    monkeypatch.setattr(memory, "OWN", tmp_path / "self")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    assert memory.may_be_swapped() is expected
