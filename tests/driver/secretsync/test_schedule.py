"""When a SecretSync is synced again."""

import pytest

from driver.ports import INTERVAL_ANNOTATION
from driver.secretsync import schedule

MANY = range(500)


@pytest.mark.parametrize(
    "text, flag, expected",
    [
        (None, 3600.0, 3600.0),
        ("10m", 3600.0, 600.0),
        ("10m", 0.0, 600.0),
        ("nonsense", 3600.0, 3600.0),
        ("0s", 3600.0, 3600.0),
    ],
)
def test_the_next_sync(text: str | None, flag: float, expected: float) -> None:
    """The interval is the class's annotation, or else the flag's, ± 10 %: no two SecretSyncs stay in step."""
    annotations = {} if text is None else {INTERVAL_ANNOTATION: text}
    found = [schedule.next_sync(annotations, flag) for _ in MANY]
    assert all(0.9 * expected <= seconds <= 1.1 * expected for seconds in found)
    assert max(found) - min(found) > 0.1 * expected


def test_polling_can_be_off() -> None:
    """The flag is 0 and the class has no annotation → never."""
    assert schedule.next_sync({}, 0.0) == schedule.NEVER


def test_retries() -> None:
    """Failures in a row → the wait doubles from 5 s to 5 minutes, twice as long if the store is overloaded, with
    jitter: those that failed together do not come back together."""
    for failures, expected in ((1, 5.0), (2, 10.0), (3, 20.0), (7, 300.0), (1000, 300.0)):
        found = [schedule.retry(failures, overloaded=False) for _ in MANY]
        assert all(0.75 * expected <= seconds <= 1.25 * expected for seconds in found)
        assert len({round(seconds, 3) for seconds in found}) > 100
    assert all(7.5 <= schedule.retry(1, overloaded=True) <= 12.5 for _ in MANY)


def test_checks() -> None:
    """A Secret that somebody deletes comes back within a minute: the checks are less than that apart."""
    assert all(30 < schedule.next_check() < 55 for _ in MANY)
