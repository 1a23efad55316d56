"""The two annotations."""

import pytest

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, SHARE_ANNOTATION
from driver.publish.fetching.settings import settings_of


def test_settings() -> None:
    """Both are durations; without them both are off."""
    found = settings_of({SHARE_ANNOTATION: "30s", LAST_KNOWN_GOOD_ANNOTATION: "6h"})
    assert (found.share, found.last_known_good, found.keep, dict(found.problems)) == (30.0, 21600.0, 21600.0, {})
    assert settings_of({}).keep == 0.0


@pytest.mark.parametrize(
    "annotation, text, problem",
    [
        (SHARE_ANNOTATION, "30", "want a duration such as"),
        (SHARE_ANNOTATION, "true", "want a duration such as"),
        (SHARE_ANNOTATION, "0", "it must be at least 1s"),
        (SHARE_ANNOTATION, "-30s", "it must be at least 1s"),
        (SHARE_ANNOTATION, "5m1s", "it must be at most 5m"),
        (LAST_KNOWN_GOOD_ANNOTATION, "7d", "want a duration such as"),
        (LAST_KNOWN_GOOD_ANNOTATION, "", "want a duration such as"),
        (LAST_KNOWN_GOOD_ANNOTATION, "169h", "it must be at most 168h"),
    ],
)
def test_invalid(annotation: str, text: str, problem: str) -> None:
    """An invalid one is off, with a sentence, and the other one counts."""
    valid = {SHARE_ANNOTATION: "10s", LAST_KNOWN_GOOD_ANNOTATION: "1h"}
    found = settings_of({**valid, annotation: text})
    assert list(found.problems) == [annotation]
    assert found.problems[annotation].startswith(f"annotation {annotation}: {problem}")
    assert 0.0 in (found.share, found.last_known_good) and found.keep in (10.0, 3600.0)
