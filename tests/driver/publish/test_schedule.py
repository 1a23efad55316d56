"""When a volume is due for a refresh, and how long it is left alone after failures."""

import pytest

from driver.ports import INTERVAL_ANNOTATION, ClassRef, Pod, RefreshFailure
from driver.publish import schedule
from driver.registry import Volume
from driver.volume.target import Target
from runtime.errors import NotFound, Unavailable

TARGET = Target.from_text("/p/pods/u/volumes/kubernetes.io~csi/v/mount", "")


def test_due_time() -> None:
    """The due time lies within ±10 % of the interval, differs between targets, and is the same at each call."""
    times = [schedule.due_time(f"/t{number}", 1000.0, 100.0, 0.1) for number in range(200)]
    assert min(times) >= 1090 and max(times) <= 1110
    assert max(times) - min(times) > 15
    assert times == [schedule.due_time(f"/t{number}", 1000.0, 100.0, 0.1) for number in range(200)]


def test_no_jitter() -> None:
    """Without jitter every volume is due exactly after the interval, as with the Go driver."""
    assert {schedule.due_time(f"/t{number}", 1000.0, 100.0, 0.0) for number in range(200)} == {1100.0}


@pytest.mark.parametrize(
    "change, due",
    [
        ({}, False),
        ({"refreshed_at": 1.0}, True),
        ({"refreshed_at": 1.0, "retry_at": 2000.0}, False),
        ({"refreshed_at": None}, True),
        ({"fingerprint": "other"}, True),
        ({"fingerprint": "other", "retry_at": 2000.0}, True),
        ({"fingerprint": ""}, False),
        ({"failure": RefreshFailure("R", "m", 1, 990.0)}, True),
        ({"failure": RefreshFailure("R", "m", 1, 990.0), "retry_at": 1010.0}, False),
    ],
)
def test_is_due(change: dict[str, object], due: bool) -> None:
    """A volume is due by its last refresh, after a failure at the end of the back-off, and at once when its class has
    changed."""
    volume = Volume(TARGET, Pod("n", "p", "u"), ClassRef("n", "c"), fingerprint="same", refreshed_at=995.0)
    for name, value in change.items():
        setattr(volume, name, value)
    assert schedule.is_due(volume, "same", 100.0, 1000.0, 0.1) is due


def test_back_off() -> None:
    """10 s, 20 s, … up to a minute; the first wait is four times as long if the provider is overloaded or away."""
    waits = [schedule.retry_time(NotFound("x"), count, 0.0) for count in (1, 2, 3, 4, 50)]
    assert waits == [10, 20, 40, 60, 60]
    assert [schedule.retry_time(Unavailable("x"), count, 0.0) for count in (1, 2, 50)] == [40, 60, 60]


@pytest.mark.parametrize("text, interval", [(None, 120), ("30s", 30), ("1h", 3600)])
def test_interval_of_a_class(text: str | None, interval: float) -> None:
    """The class's annotation overrides the flag."""
    annotations = {} if text is None else {INTERVAL_ANNOTATION: text}
    assert schedule.interval_of(annotations, 120.0) == interval


@pytest.mark.parametrize("text", ["", "soon", "0", "10ms", "-5m"])
def test_invalid_interval(text: str) -> None:
    """The error for an invalid annotation names it."""
    with pytest.raises(ValueError, match=INTERVAL_ANNOTATION):
        schedule.interval_of({INTERVAL_ANNOTATION: text}, 120.0)
