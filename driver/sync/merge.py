"""What a Secret should become: a class's keys are set, those that it no longer lists are removed, all others are kept.

Only objects are compared here; the calls are in ``driver.cluster``. The Secret's annotation ``managed-keys`` is a
ledger (``sync.ledger``), which allows these rules:
 - A key that a class no longer lists is removed if that class wrote it.
 - Two classes may share a Secret. If both list a key, the later write takes it over, which is reported.
 - A volume whose content is not the newest (that of a pod that runs on without rotation, on a node that refreshes a
   minute later) does not write its values back. It only adds missing keys.

A Secret that somebody else created is left alone, since a class would otherwise overwrite any Secret of its namespace,
unless the Secret's annotation ``adopt`` or the driver's flag allows it. Then it is adopted: it gets the class's keys
and remains theirs. If it had no owner it gets none, because it would be deleted with the pods. Secrets of the Go driver
have its label and count as the driver's own.
"""

from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from driver.sync.ledger import Fetched, Ledger
from driver.sync.references import Object, Owner, class_owner, uids, unique, united
from driver.sync.wanted import Wanted
from runtime.errors import PreconditionFailed

MANAGED_LABEL = "secrets-store.csi.k8s.io/managed"
LEDGER = "secrets-store.csi.k8s.io/managed-keys"
ADOPT = "secrets-store.csi.k8s.io/adopt"
# How the ledger of an adopted Secret begins, damaged or not; the chart's policies know it, too.
ADOPTED_LEDGER = '{"adopted":true'


@dataclass(frozen=True)
class Change:
    """What must be done to a Secret that exists.

    ``patch`` is None if it is as it should be. ``adopted`` is whether this change adopts it. ``taken`` are the keys
    that are taken over from other classes, as (key, class) pairs. ``only_owners`` are the UIDs of the owners that it
    adds, if it does nothing else.
    """

    patch: Object | None = field(repr=False)
    adopted: bool = False
    taken: Sequence[tuple[str, str]] = ()
    only_owners: frozenset[str] | None = None

    @property
    def changes_owners(self) -> bool:
        """Whether the patch adds or removes owners."""
        return self.patch is not None and "ownerReferences" in self.patch["metadata"]

    def without_owners(self) -> Object | None:
        """The patch for a cluster that does not let the driver change owners; None if nothing else is to be done."""
        if self.patch is None:
            return None
        metadata = {key: value for key, value in self.patch["metadata"].items() if key != "ownerReferences"}
        patch = {**self.patch, "metadata": metadata}
        return None if patch == {"metadata": {"resourceVersion": metadata["resourceVersion"]}} else patch


class Outcome(NamedTuple):
    """What was done to a Secret; ``adopted`` and ``taken`` are those of ``Change``. ``owners_refused`` says what to do
    if the cluster did not let the driver add owners; empty if it did."""

    written: bool
    adopted: bool = False
    taken: Sequence[tuple[str, str]] = ()
    owners_refused: str = ""


def new_secret(wanted: Wanted, owners: Iterable[Owner], fetched: Fetched) -> Object:
    """The Secret to create if there is none."""
    ledger = Ledger(False, {})
    ledger.enter(wanted, fetched, newest=True, data_written=True)
    ledger.note_owner(wanted.class_name, wanted.class_uid)
    all_owners = unique([*owners, *class_owner(wanted.class_name, wanted.class_uid)])
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": wanted.name,
            "labels": {**wanted.labels, MANAGED_LABEL: "true"},
            "annotations": {**wanted.annotations, LEDGER: ledger.text()},
            "ownerReferences": [owner.reference() for owner in all_owners],
        },
        "type": wanted.type,
        "data": {key: b64encode(value).decode() for key, value in wanted.data.items()},
    }


def foreign_secret(wanted: Wanted, hint: str = "") -> PreconditionFailed:
    """The failure for a Secret that the driver must not write to."""
    return PreconditionFailed(
        f"Secret {wanted} was created by somebody else and is left as it is: set another secretName, or allow it "
        f'with the annotation {ADOPT}: "true" on the Secret{hint}'
    )


def merge(found: Object, wanted: Wanted, owners: Iterable[Owner], fetched: Fetched, *, adopt: bool = False) -> Change:
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
    ledger = Ledger.parse(annotations.get(LEDGER), fetched.now)
    adopted = ledger is None and labels.get(MANAGED_LABEL) != "true"
    if adopted and not adopt and annotations.get(ADOPT) != "true":
        raise foreign_secret(wanted)
    ledger = ledger or Ledger(adopted or (annotations.get(LEDGER) or "").startswith(ADOPTED_LEDGER), {})
    before = ledger.text()
    newest = ledger.is_newest(wanted, fetched)
    data, taken = _data_changes(found, wanted, ledger, newest=newest)
    if data and found.get("immutable"):
        raise PreconditionFailed(
            f"Secret {wanted} is immutable and its content has changed: delete the Secret, or set another secretName"
        )
    label_changes = _changes(labels, {**wanted.labels, MANAGED_LABEL: "true"}, ledger.former("labels", wanted))
    annotation_changes = _changes(annotations, wanted.annotations, ledger.former("annotations", wanted) - {LEDGER})
    references = metadata.get("ownerReferences") or []
    owned = _owned(references, wanted, owners, ledger)
    ledger.enter(wanted, fetched, newest=newest, data_written=bool(data))
    # A reference to the class is noted for as long as it is there: its removal may be refused.
    noted = wanted.class_uid or ledger.noted_owner(wanted.class_name)
    ledger.note_owner(wanted.class_name, noted if noted in uids([*references, *owned]) else "")
    if ledger.text() != before or LEDGER not in annotations:
        annotation_changes[LEDGER] = ledger.text()
    changed: Object = {}
    if label_changes:
        changed["labels"] = label_changes
    if annotation_changes:
        changed["annotations"] = annotation_changes
    if owned != references:
        changed["ownerReferences"] = owned
    if not changed and not data:
        return Change(None)
    patch: Object = {"metadata": {"resourceVersion": metadata["resourceVersion"], **changed}}
    if data:
        patch["data"] = data
    only_adds = not data and changed.keys() == {"ownerReferences"} and uids(references) <= uids(owned)
    return Change(patch, adopted, taken, frozenset(uids(owned) - uids(references)) if only_adds else None)


def release(found: Object, class_name: str, owners: Iterable[Owner], now: float) -> Object | None:
    """The JSON merge patch that removes the reference to a class which does not list the Secret any more; the owners of
    its pods take its place. None if the driver has added no such reference. ``now`` is that of ``Fetched``."""
    metadata = found["metadata"]
    ledger = Ledger.parse((metadata.get("annotations") or {}).get(LEDGER), now)
    references = metadata.get("ownerReferences") or []
    former = ledger.noted_owner(class_name) if ledger else ""
    owned = united(references, owners, former)
    if ledger is None or former not in uids(references) or former in uids(owned):
        return None
    ledger.note_owner(class_name, "")
    return {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "ownerReferences": owned,
            "annotations": {LEDGER: ledger.text()},
        }
    }


def _owned(references: Sequence[Object], wanted: Wanted, owners: Iterable[Owner], ledger: Ledger) -> Sequence[Object]:
    """The owner references as they should be."""
    if ledger.adopted and not references:
        return references
    noted = ledger.noted_owner(wanted.class_name)
    former = noted if noted != wanted.class_uid else ""
    return united(references, [*owners, *class_owner(wanted.class_name, wanted.class_uid)], former)


def _data_changes(
    found: Object, wanted: Wanted, ledger: Ledger, *, newest: bool
) -> tuple[dict[str, str | None], list[tuple[str, str]]]:
    current = found.get("data") or {}
    changes: dict[str, str | None] = {}
    for key, value in wanted.data.items():
        if key not in current or (newest and b64decode(current[key] or "") != value):
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
