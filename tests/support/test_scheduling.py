"""Which tests run in one process of pytest-xdist."""

from pathlib import Path

import pytest

from tests.support.scheduling import TOGETHER, Together

ROOT = Path(__file__).resolve().parents[2]


def test_the_list_is_current() -> None:
    """Look up the list's entries → each is a module or a folder of tests."""
    assert [path for path in TOGETHER if not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("test", "scope"),
    [
        ("tests/cluster/test_sync.py::test_x[a]", "tests/cluster/"),
        ("tests/test_packaging.py::test_wheel", "tests/test_packaging.py"),
        ("tests/container/test_main.py::test_x", "tests/container/test_main.py::test_x"),
        ("tests/clusters.py::test_x[tests/cluster/]", "tests/clusters.py::test_x[tests/cluster/]"),
    ],
)
def test_scopes(test: str, scope: str) -> None:
    """Ask for a test's scope → that of its entry in the list, or the test alone."""
    assert Together._split_scope(Together.__new__(Together), test) == scope
