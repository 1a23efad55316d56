"""Times of Kubernetes objects."""

import pytest

from runtime.timestamps import parse_timestamp, timestamp


@pytest.mark.parametrize("seconds", [0.0, 1000.0, 1.7e9])
def test_round_trip(seconds: float) -> None:
    """A time is the same after it was written and read."""
    assert parse_timestamp(timestamp(seconds)) == seconds


def test_whole_seconds() -> None:
    """Fractions are cut off, not rounded into the future."""
    assert timestamp(1000.999) == "1970-01-01T00:16:40Z"


@pytest.mark.parametrize("text", ["1970-01-01T00:16:40Z", "1970-01-01T00:16:40+00:00", "1970-01-01T01:16:40+01:00"])
def test_offsets(text: str) -> None:
    """Any offset from UTC is understood."""
    assert parse_timestamp(text) == 1000.0


@pytest.mark.parametrize("text", [None, "", "yesterday", 5, [], "1970-13-01T00:00:00Z"])
def test_not_a_time(text: object) -> None:
    """Whatever is not a time is None."""
    assert parse_timestamp(text) is None
