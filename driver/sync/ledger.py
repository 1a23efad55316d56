"""The ledger in a Secret's annotation: for each class that writes to the Secret, its data keys, labels and annotations,
when and from which content of a volume its values were fetched, and the UID of the class if the driver has made it an
owner of the Secret.

Which content is the newest
---------------------------

Nodes share no clock. What was fetched within the last FRESH_SECONDS is the newest: a first publish, or a refresh, whose
values are written at once. What was written from the same content is corrected if somebody edits the Secret. Any other
content, such as one that could not be written for a while, is newer than the values in the Secret if it was fetched
later by the API server's clock: that clock's time, minus the age of the content by the node's ``runtime.clock``.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from driver.sync.wanted import Wanted

FRESH_SECONDS = 5.0
# The API server tells its time in whole seconds.
CLOCK_TOLERANCE = 1.0
# An earlier version wrote the time of a node, and no content.
FORMER_CLOCK_TOLERANCE = 5.0
MAX_CLOCK_DIFFERENCE = 300.0
_PARTS = ("data", "labels", "annotations")
_FETCHED, _CONTENT, _OWNER = "fetched", "content", "owner"

Object = dict[str, Any]


class Fetched(NamedTuple):
    """When the values that a class wants were fetched, and the time ``now``: Unix time by the API server's clock.
    ``time`` is 0 if that is not known."""

    time: float
    now: float

    @property
    def fresh(self) -> bool:
        """Whether they are newer than anything that is written already."""
        return self.now - self.time <= FRESH_SECONDS


class Ledger:
    """Which class wrote what; ``adopted`` is whether somebody else created the Secret."""

    def __init__(self, adopted: bool, classes: dict[str, Object]) -> None:
        self.adopted = adopted
        self._classes = classes

    @staticmethod
    def parse(text: str | None, now: float) -> "Ledger | None":
        """None if there is no annotation, or it is damaged. ``now`` is that of ``Fetched``."""
        try:
            found = json.loads(text or "")
            classes = {str(name): _entry(entry, now) for name, entry in found["classes"].items()}
            return Ledger(found.get("adopted") is True, classes)
        # Numbers that no float can hold, and lists in lists without end, too: anybody may have edited the annotation.
        except (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError):
            return None

    def text(self) -> str:
        """The value of the annotation."""
        return json.dumps({"adopted": self.adopted, "classes": self._classes}, sort_keys=True, separators=(",", ":"))

    def is_newest(self, wanted: Wanted, fetched: Fetched) -> bool:
        """Whether these values are at least as new as those that the class wrote last."""
        entry = self._classes.get(wanted.class_name, {})
        written, content = float(entry.get(_FETCHED, 0.0)), entry.get(_CONTENT)
        if fetched.fresh or not written or content == wanted.content_id:
            return True
        if not content:
            return fetched.time >= written - FORMER_CLOCK_TOLERANCE
        return fetched.time > written + CLOCK_TOLERANCE

    def former(self, part: str, wanted: Wanted) -> set[str]:
        """The keys that this class wrote and no other class lists."""
        mine = set(self._classes.get(wanted.class_name, {}).get(part, ()))
        return mine - {key for entry in self._others(wanted).values() for key in entry[part]}

    def holder(self, key: str, wanted: Wanted) -> str:
        """The other class that wrote a data key last; empty if none did."""
        return next((name for name, entry in self._others(wanted).items() if key in entry["data"]), "")

    def noted_owner(self, class_name: str) -> str:
        """The UID of the class if the driver has made it an owner; empty if not."""
        return str(self._classes.get(class_name, {}).get(_OWNER, ""))

    def note_owner(self, class_name: str, uid: str) -> None:
        """Note that the driver has made the class an owner, or with an empty UID that it is none any more. Without an
        entry of the class there is nothing to note: what it wrote is unknown."""
        if entry := self._classes.get(class_name):
            entry.pop(_OWNER, None)
            if uid:
                entry[_OWNER] = uid

    def _others(self, wanted: Wanted) -> dict[str, Object]:
        return {name: entry for name, entry in self._classes.items() if name != wanted.class_name}

    def enter(self, wanted: Wanted, fetched: Fetched, *, newest: bool, data_written: bool) -> None:
        """Replace the entry of the class; keys that were written now belong to it alone."""
        former = self._classes.get(wanted.class_name, {})
        written, content = former.get(_FETCHED, 0.0), former.get(_CONTENT, "")
        if newest and (data_written or not written):
            # Not earlier than before: an older value that is fetched late must not open the door to even older ones.
            written, content = max(written, round(fetched.time, 3)), wanted.content_id
        if data_written:
            for entry in self._others(wanted).values():
                entry["data"] = [key for key in entry["data"] if key not in wanted.data]
        self._classes[wanted.class_name] = {
            "data": sorted(wanted.data),
            "labels": sorted(wanted.labels),
            "annotations": sorted(wanted.annotations),
            _FETCHED: written,
            _CONTENT: content,
        }
        if owner := former.get(_OWNER):
            self._classes[wanted.class_name][_OWNER] = owner
        self._classes = {
            name: entry
            for name, entry in self._classes.items()
            if entry.get(_OWNER) or any(entry[part] for part in _PARTS)
        }


def _entry(found: Mapping[str, Any], now: float) -> Object:
    entry: Object = {part: [str(key) for key in found.get(part) or ()] for part in _PARTS}
    written = float(found.get(_FETCHED, 0))
    # Whoever may edit the Secret may write anything here: a time in the future would keep all later values out.
    plausible = 0.0 <= written <= now + MAX_CLOCK_DIFFERENCE
    entry |= {_FETCHED: written if plausible else 0.0, _CONTENT: str(found.get(_CONTENT) or "")}
    return {**entry, _OWNER: str(found[_OWNER])} if found.get(_OWNER) else entry
