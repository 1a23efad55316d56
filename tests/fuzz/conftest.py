"""Prints how much was generated."""

import pytest

from tests.fuzz.effort import TALLIES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """One line for each kind of what was generated; none where other processes have run the tests."""
    for kind, tally in sorted(TALLIES.items()):
        rate = tally.count / tally.seconds
        terminalreporter.write_line(f"generated {tally.count:>9,} {kind} in {tally.seconds:.1f} s ({rate:,.0f}/s)")
