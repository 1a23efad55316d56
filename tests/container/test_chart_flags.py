"""The chart knows the program's flags: what it refuses is generated from the program."""

from tests.helm import flags


def test_the_charts_flags_are_the_programs() -> None:
    """helm/flags.yaml is what ``python -m tests.helm.flags`` prints."""
    assert flags.path().read_text() == flags.text()
