"""Gives each test the time that it needs, and prints how much was generated."""

from pathlib import Path

import pytest

from tests.fuzz.effort import TALLIES, time_limit

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test generates for longer in `make test-fuzz`."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(time_limit()))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each kind of what was generated; none where other processes have run the tests."""
    for kind, tally in sorted(TALLIES.items()):
        rate = tally.count / tally.seconds
        terminalreporter.write_line(f"generated {tally.count:>9,} {kind} in {tally.seconds:.1f} s ({rate:,.0f}/s)")
