"""What a test needs from the machine; without it the test is skipped."""

from pathlib import Path

import pytest


def root() -> None:
    """Skip the test without root, which a user namespace with one user cannot replace."""
    if "4294967295" not in Path("/proc/self/uid_map").read_text():
        pytest.skip("needs root, outside of a user namespace")


def group(gid: int) -> None:
    """Skip the test if files cannot belong to a group: a user namespace created without root has only one group."""
    rows = [[int(field) for field in row.split()] for row in Path("/proc/self/gid_map").read_text().splitlines()]
    if not any(first <= gid < first + count for first, _, count in rows):
        pytest.skip("this user namespace has one group only")
