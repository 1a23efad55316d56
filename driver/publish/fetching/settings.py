"""The two annotations of a class that decide where content may come from besides a call to the provider."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from driver.ports import LAST_KNOWN_GOOD_ANNOTATION, SHARE_ANNOTATION
from driver.publish.schedule import interval_of
from runtime.flags import format_value

# Content that a new pod gets is not to be old unless the store is away; and secrets are not to stay in memory for ever.
LONGEST = {SHARE_ANNOTATION: 300.0, LAST_KNOWN_GOOD_ANNOTATION: 168 * 3600.0}


@dataclass(frozen=True)
class FetchSettings:
    """How old a reply to another pod may be, in seconds: always (``share``), and while the provider is away
    (``last_known_good``). 0 is off. ``problems`` are sentences about annotations that are invalid, and so off, by
    annotation."""

    share: float = 0.0
    last_known_good: float = 0.0
    problems: Mapping[str, str] = field(default_factory=dict)

    @property
    def keep(self) -> float:
        """For how many seconds a reply is of use."""
        return max(self.share, self.last_known_good)


def settings_of(annotations: Mapping[str, str]) -> FetchSettings:
    """The settings of a class."""
    found, problems = dict[str, float](), dict[str, str]()
    for annotation, longest in LONGEST.items():
        try:
            found[annotation] = interval_of(annotations, 0.0, annotation)
            if found[annotation] > longest:
                raise ValueError(f"annotation {annotation}: it must be at most {format_value(longest)}")
        except ValueError as error:
            found[annotation], problems[annotation] = 0.0, str(error)
    return FetchSettings(found[SHARE_ANNOTATION], found[LAST_KNOWN_GOOD_ANNOTATION], problems)
