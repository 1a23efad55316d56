"""What a Secret should become: a class's keys are set, those that it no longer lists are removed, all others are kept.

Only objects are compared here; the calls are in ``driver.cluster``. The Secret's annotation ``managed-keys`` is a
ledger: for each class that writes to the Secret, its data keys, labels and annotations, and the last refresh of the
values that it wrote. It allows these rules:
 - A key that a class no longer lists is removed if that class wrote it.
 - Two classes may share a Secret. If both list a key, the later write takes it over, which is reported.
 - A volume whose content is older than what was written (a pod that runs on without rotation, a node that refreshes a
   minute later) does not write its old values back. It only adds missing keys.

A Secret that somebody else created is left alone, since a class would otherwise overwrite any Secret of its namespace,
unless the Secret's annotation ``adopt`` or the driver's flag allows it. Then it is adopted: it gets the class's keys
and remains theirs. If it had no owner it gets none, because it would be deleted with the pods. Secrets of the Go driver
have its label and count as the driver's own.
"""

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed

MANAGED_LABEL = "secrets-store.csi.k8s.io/managed"
LEDGER = "secrets-store.csi.k8s.io/managed-keys"
ADOPT = "secrets-store.csi.k8s.io/adopt"
# How the ledger of an adopted Secret begins, damaged or not; the chart's policies know it, too.
ADOPTED_LEDGER = '{"adopted":true'
# The time in the volume is a moment before the driver's own, and the clocks of nodes differ.
CLOCK_TOLERANCE = 5.0
MAX_CLOCK_DIFFERENCE = 300.0
_PARTS = ("data", "labels", "annotations")
# The field's name in the annotations of existing Secrets.
_LAST_REFRESH = "fetched"

Object = dict[str, Any]


@dataclass(frozen=True)
class Owner:
    """An owner reference without ``controller`` and ``blockOwnerDeletion``."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> Object:
        """The entry in ``metadata.ownerReferences``."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid}


@dataclass(frozen=True)
class Change:
    """What must be done to a Secret that exists.

    ``patch`` is None if it is as it should be. ``adopted`` is whether this change adopts it. ``taken`` are the keys
    that are taken over from other classes, as (key, class) pairs.
    """

    patch: Object | None = field(repr=False)
    adopted: bool = False
    taken: Sequence[tuple[str, str]] = ()

    @property
    def changes_owners(self) -> bool:
        """Whether the patch adds owners."""
        return self.patch is not None and "ownerReferences" in self.patch["metadata"]

    def without_owners(self) -> Object | None:
        """The patch for a cluster that does not let the driver change owners; None if nothing else is to be done."""
        if self.patch is None:
            return None
        metadata = {key: value for key, value in self.patch["metadata"].items() if key != "ownerReferences"}
        patch = {**self.patch, "metadata": metadata}
        return None if patch == {"metadata": {"resourceVersion": metadata["resourceVersion"]}} else patch


@dataclass(frozen=True)
class Outcome:
    """What was done to a Secret; ``adopted`` and ``taken`` are those of ``Change``. ``owners_refused`` says what to do
    if the cluster did not let the driver add owners; empty if it did."""

    written: bool
    adopted: bool = False
    taken: Sequence[tuple[str, str]] = ()
    owners_refused: str = ""


def new_secret(wanted: Wanted, owners: Iterable[Owner]) -> Object:
    """The Secret to create if there is none."""
    ledger = Ledger(False, {})
    ledger.enter(wanted, data_written=True)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": wanted.name,
            "labels": {**wanted.labels, MANAGED_LABEL: "true"},
            "annotations": {**wanted.annotations, LEDGER: ledger.text()},
            "ownerReferences": [owner.reference() for owner in _unique(owners)],
        },
        "type": wanted.type,
        "data": {key: b64encode(value).decode() for key, value in wanted.data.items()},
    }


def merge(found: Object, wanted: Wanted, owners: Iterable[Owner], *, adopt: bool = False) -> Change:
    """The difference as a JSON merge patch for exactly the version of the Secret that was found.

    ``adopt`` is whether Secrets of others may be adopted without their annotation. Raises PreconditionFailed if that is
    not allowed, if the Secret's type differs, or if it is immutable and would change.
    """
    metadata = found["metadata"]
    kind = found.get("type") or "Opaque"
    if kind != wanted.type:
        raise PreconditionFailed(
            f"Secret {wanted} has type {kind}, the class wants {wanted.type}, and a Secret's type cannot be changed: "
            "delete the Secret, or set another secretName or type"
        )
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    ledger = Ledger.parse(annotations.get(LEDGER))
    adopted = ledger is None and labels.get(MANAGED_LABEL) != "true"
    if adopted and not adopt and annotations.get(ADOPT) != "true":
        raise PreconditionFailed(
            f"Secret {wanted} was created by somebody else and is left as it is: set another secretName, or allow it "
            f'with the annotation {ADOPT}: "true" on the Secret'
        )
    ledger = ledger or Ledger(adopted or (annotations.get(LEDGER) or "").startswith(ADOPTED_LEDGER), {})
    before = ledger.text()
    data, taken = _data_changes(found, wanted, ledger)
    if data and found.get("immutable"):
        raise PreconditionFailed(
            f"Secret {wanted} is immutable and its content has changed: delete the Secret, or set another secretName"
        )
    label_changes = _changes(labels, {**wanted.labels, MANAGED_LABEL: "true"}, ledger.former("labels", wanted))
    annotation_changes = _changes(annotations, wanted.annotations, ledger.former("annotations", wanted) - {LEDGER})
    ledger.enter(wanted, data_written=bool(data))
    if ledger.text() != before or LEDGER not in annotations:
        annotation_changes[LEDGER] = ledger.text()
    references = metadata.get("ownerReferences") or []
    united = references if ledger.adopted and not references else _united(references, owners)
    changed: Object = {}
    if label_changes:
        changed["labels"] = label_changes
    if annotation_changes:
        changed["annotations"] = annotation_changes
    if len(united) != len(references):
        changed["ownerReferences"] = united
    if not changed and not data:
        return Change(None)
    patch: Object = {"metadata": {"resourceVersion": metadata["resourceVersion"], **changed}}
    if data:
        patch["data"] = data
    return Change(patch, adopted, taken)


class Ledger:
    """Which class wrote what; ``adopted`` is whether somebody else created the Secret."""

    def __init__(self, adopted: bool, classes: dict[str, Object]) -> None:
        self.adopted = adopted
        self._classes = classes

    @staticmethod
    def parse(text: str | None) -> "Ledger | None":
        """None if there is no annotation, or it is damaged."""
        try:
            found = json.loads(text or "")
            classes = {str(name): _entry(entry) for name, entry in found["classes"].items()}
            return Ledger(found.get("adopted") is True, classes)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def text(self) -> str:
        """The value of the annotation."""
        return json.dumps({"adopted": self.adopted, "classes": self._classes}, sort_keys=True, separators=(",", ":"))

    def last_refresh(self, class_name: str) -> float:
        """The last refresh (Unix time) of the values that this class wrote last."""
        return float(self._classes.get(class_name, {}).get(_LAST_REFRESH, 0.0))

    def former(self, part: str, wanted: Wanted) -> set[str]:
        """The keys that this class wrote and no other class lists."""
        mine = set(self._classes.get(wanted.class_name, {}).get(part, ()))
        return mine - {key for entry in self._others(wanted).values() for key in entry[part]}

    def holder(self, key: str, wanted: Wanted) -> str:
        """The other class that wrote a data key last; empty if none did."""
        return next((name for name, entry in self._others(wanted).items() if key in entry["data"]), "")

    def _others(self, wanted: Wanted) -> dict[str, Object]:
        return {name: entry for name, entry in self._classes.items() if name != wanted.class_name}

    def enter(self, wanted: Wanted, *, data_written: bool) -> None:
        """Replace the entry of the class; keys that were written now belong to it alone."""
        last_refresh = self.last_refresh(wanted.class_name)
        if data_written or not last_refresh:
            last_refresh = max(last_refresh, round(wanted.last_refresh, 3))
        if data_written:
            for entry in self._others(wanted).values():
                entry["data"] = [key for key in entry["data"] if key not in wanted.data]
        self._classes[wanted.class_name] = {
            "data": sorted(wanted.data),
            "labels": sorted(wanted.labels),
            "annotations": sorted(wanted.annotations),
            _LAST_REFRESH: last_refresh,
        }
        self._classes = {name: entry for name, entry in self._classes.items() if any(entry[part] for part in _PARTS)}


def _entry(found: Mapping[str, Any]) -> Object:
    entry: Object = {part: [str(key) for key in found.get(part) or ()] for part in _PARTS}
    last_refresh = float(found.get(_LAST_REFRESH, 0))
    # Whoever may edit the Secret may write anything here: a time in the future would keep all later values out.
    plausible = 0.0 <= last_refresh <= time.time() + MAX_CLOCK_DIFFERENCE
    return {**entry, _LAST_REFRESH: last_refresh if plausible else 0.0}


def _data_changes(found: Object, wanted: Wanted, ledger: Ledger) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
    current = found.get("data") or {}
    older = wanted.last_refresh < ledger.last_refresh(wanted.class_name) - CLOCK_TOLERANCE
    changes: dict[str, str | None] = {}
    for key, value in wanted.data.items():
        if key not in current or (not older and b64decode(current[key] or "") != value):
            changes[key] = b64encode(value).decode()
    taken = [(key, holder) for key in changes if key in current and (holder := ledger.holder(key, wanted))]
    changes.update({key: None for key in ledger.former("data", wanted) if key not in wanted.data and key in current})
    return changes, taken


def _changes(current: Mapping[str, str], wanted: Mapping[str, str], former: set[str]) -> dict[str, str | None]:
    changes: dict[str, str | None] = {
        key: value for key, value in wanted.items() if current.get(key) != value and key != LEDGER
    }
    changes.update({key: None for key in former if key not in wanted and key in current})
    return changes


def _united(references: Sequence[Object], owners: Iterable[Owner]) -> list[Object]:
    """The references that exist, unchanged, and those of the owners that are missing."""
    known = {reference.get("uid") for reference in references}
    return [*references, *(owner.reference() for owner in _unique(owners) if owner.uid not in known)]


def _unique(owners: Iterable[Owner]) -> list[Owner]:
    return list({owner.uid: owner for owner in owners}.values())
