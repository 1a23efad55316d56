"""Kubernetes Secrets by name: read, created, patched. Never listed, watched or applied.

1. Read the Secret: by GET, or by a PATCH that changes nothing. Admission policies see the latter only, so that the
   account can be limited to reading what it may write; the API server stores nothing then. With the pod, which is read
   for its owners, a new pod's Secret costs two reads and one write.
2. Not found: POST. Not as it should be: PATCH with the resourceVersion that was read, owners in the same write. Before
   either, owners that were read in an earlier run are read again (``sync.owners``).
3. Changed by somebody else meanwhile (409, or 404 on the PATCH): again from 1, after a pause with jitter. So when two
   nodes write one Secret, it ends up with the owners of both.
4. Owners refused by admission: the rest of the PATCH without them.
"""

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from driver.cluster.answers import Conflict, is_refused_by_admission
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.statuses import StatusStore
from driver.objects import GROUP_VERSION, pod_status
from driver.ports import Pod
from driver.sync.ledger import Fetched
from driver.sync.merge import Change, Outcome, Owner, foreign_secret, merge, new_secret
from driver.sync.owners import Owners
from driver.sync.wanted import Wanted
from runtime import clock
from runtime.errors import Aborted, Failure, InvalidRequest, NotFound, PermissionDenied, PreconditionFailed

TRIES = 8
PAUSE = 0.05


class SecretWriter:
    """Implements ``sync.engine.Writer``."""

    def __init__(self, api: Api, statuses: StatusStore, *, adopt: bool = False, read_by_patch: bool = False) -> None:
        self._api = api
        self._adopt = adopt
        self._read_by_patch = read_by_patch
        self._statuses = statuses

    async def ensure(self, wanted: Wanted, owners: Owners) -> Outcome:
        """Make the Secret what it should be. Raises a Failure that says what to do, or PodsGone."""
        for _ in range(TRIES):
            outcome = await self._write(wanted, owners)
            if outcome is not None:
                return outcome
            await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))
        raise Aborted(f"Secret {wanted} keeps being changed by others; it will be tried again")

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """None for a pod that is gone or being deleted. Else the pod's owners; for a bare pod its pod status, as with
        the Go driver: it is collected with the pod."""
        try:
            found = await self._api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
        except NotFound:
            return None
        except PermissionDenied as failure:
            raise PermissionDenied(_rights_missing(pod.namespace, failure)) from None
        metadata = found["metadata"]
        if metadata["uid"] != pod.uid or metadata.get("deletionTimestamp"):
            return None
        if references := metadata.get("ownerReferences"):
            return [Owner(item["apiVersion"], item["kind"], item["name"], item["uid"]) for item in references]
        name, uid = await self._statuses.identity(target_path)
        return [Owner(GROUP_VERSION, pod_status.KIND, name, uid)]

    async def _write(self, wanted: Wanted, owners: Owners) -> Outcome | None:
        """One try; None if somebody else changed the Secret meanwhile."""
        try:
            found = await self._get(wanted)
        except Conflict:
            return None
        fetched = self._fetched(wanted)
        if found is None:
            body = new_secret(wanted, await owners.confirmed(), fetched)
            with suppress(Conflict, NotFound), _explained(wanted):
                await self._api.call("POST", _path(wanted.namespace), body=body)
                return Outcome(True)
            return None
        change: Change = merge(found, wanted, await owners.known(), fetched, adopt=self._adopt)
        if change.patch is not None:
            change = merge(found, wanted, await owners.confirmed(change.only_owners), fetched, adopt=self._adopt)
        if change.patch is None:
            return Outcome(False)
        with suppress(Conflict, NotFound), _explained(wanted):
            refused = await self._change(wanted, change)
            written = not refused or change.without_owners() is not None
            return Outcome(written, change.adopted, change.taken, refused)
        return None

    def _fetched(self, wanted: Wanted) -> Fetched:
        """When the values were fetched: the API server's time, which its last answer told, minus their age."""
        now = self._api.server_time()
        return Fetched(0.0 if wanted.refreshed_at is None else now - (clock.now() - wanted.refreshed_at), now)

    async def _change(self, wanted: Wanted, change: Change) -> str:
        """Make a change; if it is refused because of its owners, make it without them: a Secret with yesterday's
        content is worse than one without today's owner. Returns what to do about the owners; empty if they are set."""
        path = _path(wanted.namespace, wanted.name)
        try:
            await self._api.call("PATCH", path, body=change.patch, content_type=MERGE_PATCH)
            return ""
        except (InvalidRequest, PermissionDenied) as failure:
            if not change.changes_owners or not is_refused_by_admission(failure):
                raise
            rest = change.without_owners()
            if rest is not None:
                await self._api.call("PATCH", path, body=rest, content_type=MERGE_PATCH)
            return _forbidden(wanted, failure)

    async def _get(self, wanted: Wanted) -> dict[str, Any] | None:
        path = _path(wanted.namespace, wanted.name)
        try:
            with _explained(wanted):
                if not self._read_by_patch:
                    return await self._api.call("GET", path)
                return await self._read(wanted, path)
        except NotFound:
            return None

    async def _read(self, wanted: Wanted, path: str) -> dict[str, Any]:
        try:
            return await self._api.call("PATCH", path, body={}, content_type=MERGE_PATCH)
        except (InvalidRequest, PermissionDenied) as failure:
            if "(ValidatingAdmissionPolicy " not in str(failure):
                raise
            raise foreign_secret(wanted, f"; or a policy does not allow its type or namespace ({failure})") from None


@contextmanager
def _explained(wanted: Wanted) -> Iterator[None]:
    """Say what to do about a rejection."""
    try:
        yield
    except PermissionDenied as failure:
        raise PermissionDenied(_forbidden(wanted, failure)) from None
    except InvalidRequest as failure:
        raise PreconditionFailed(
            f"the Secret {wanted} is refused: {failure}; correct spec.secretObjects of class {wanted.class_name}"
        ) from None


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")


def _forbidden(wanted: Wanted, failure: Failure) -> str:
    """What to do about a 403. Its hint is in brackets, so the name of a namespace cannot be mistaken for one."""
    text = str(failure)
    if "(exceeded quota)" in text:
        return (
            f"Secret {wanted} cannot be written: the namespace's quota for Secrets is used up; "
            "raise the quota or remove Secrets"
        )
    if "you can't delete)" in text:
        return (
            f"Secret {wanted} cannot get another owner, and may be deleted with the ones that it has: this cluster's "
            "admission (OwnerReferencesPermissionEnforcement) requires the right to delete for that; install the chart "
            "with rbac.ownerReferencesPermissionEnforcement=true, which adds delete on secrets to the driver's role"
        )
    if "(admission webhook " in text or "(ValidatingAdmissionPolicy " in text:
        return f"Secret {wanted} is refused by the cluster's own policy: {failure}"
    if "(because it is being terminated)" in text:
        return f"Secret {wanted} cannot be written: its namespace is being deleted"
    return _rights_missing(wanted.namespace, failure)


def _rights_missing(namespace: str, failure: Failure) -> str:
    return (
        f"the driver may not write Secrets in namespace {namespace}: install the chart with "
        "syncSecret.enabled=true (and this namespace among syncSecret.namespaces, if that is set), "
        f"or remove secretObjects from the class ({failure})"
    )
