"""The owner references of a synced Secret: those of its pods' owners and, with the deletion policy WithClass, one of
the class itself.

The garbage collector deletes a Secret when none of its owners exists any more. So an additional reference to the class
keeps it while no pod uses the class, and no driver has to delete anything. Whoever uses a class may have set such a
reference by hand: only one that the ledger says the driver added is ever removed, and only in a write that leaves
others, because a Secret without any would stay for ever.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from driver.objects import GROUP_VERSION
from driver.objects.classes import KIND

Object = dict[str, Any]


class Owner(NamedTuple):
    """An owner reference without ``controller`` and ``blockOwnerDeletion``."""

    api_version: str
    kind: str
    name: str
    uid: str

    def reference(self) -> Object:
        """The entry in ``metadata.ownerReferences``."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": self.uid}


def class_owner(name: str, uid: str) -> list[Owner]:
    """The class as an owner; none if ``uid`` is empty."""
    return [Owner(GROUP_VERSION, KIND, name, uid)] if uid else []


def unique(owners: Iterable[Owner]) -> list[Owner]:
    """Each owner once."""
    return list({owner.uid: owner for owner in owners}.values())


def uids(references: Iterable[Object]) -> set[str]:
    """The UIDs of owner references."""
    return {str(reference.get("uid")) for reference in references}


def united(references: Sequence[Object], owners: Iterable[Owner], former: str = "") -> list[Object]:
    """The references that exist, unchanged, but for the one with the UID ``former``, and those of the owners that are
    missing. If nothing else would be left, ``former`` stays."""
    kept = [reference for reference in references if not former or reference.get("uid") != former]
    known = uids(kept)
    result = [*kept, *(owner.reference() for owner in unique(owners) if owner.uid not in known)]
    return result or list(references)
