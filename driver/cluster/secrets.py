"""Kubernetes Secrets by name: read, created, patched. Never listed, watched or applied.

1. Read the Secret: by GET, or by a PATCH that changes nothing. Admission policies see the latter only, so that the
   account can be limited to reading what it may write; the API server stores nothing then. With the pod, which is read
   for its owners, a new pod's Secret costs two reads and one write.
2. Not found: POST. Not as it should be: PATCH with the resourceVersion that was read, owners in the same write. Before
   either, owners that were read in an earlier run are read again (``sync.owners``).
3. Changed by somebody else meanwhile (409, or 404 on the PATCH): again from 1, after a pause with jitter. So when two
   nodes write one Secret, it ends up with the owners of both.
4. Owners refused by admission: the rest of the PATCH without them. Owners that are not known yet, because the pod
   status of a bare pod cannot be written: the same, and they are added later.
5. A Secret that its class does not list any more, but owns (deletion policy WithClass): a PATCH that removes the class
   from its owners.
"""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from driver.cluster.answers import Conflict, is_refused_by_admission
from driver.cluster.api import MERGE_PATCH, Api
from driver.cluster.secret_refusals import explained, forbidden, is_refused_by_policy, rights_missing
from driver.cluster.statuses.store import StatusStore
from driver.objects import GROUP_VERSION, pod_status
from driver.ports import ClassRef, Pod
from driver.sync.ledger import Fetched
from driver.sync.merge import Change, Outcome, foreign_secret, merge, new_secret, release
from driver.sync.owners import OwnerRefused, Owners
from driver.sync.references import Owner
from driver.sync.wanted import Wanted
from runtime import clock
from runtime.errors import Aborted, Failure, InvalidRequest, NotFound, PermissionDenied

TRIES = 8
PAUSE = 0.05


class SecretWriter:
    """Implements ``sync.runs.Writer``."""

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

    async def release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> None:
        """Take a class from the owners of a Secret that it does not list any more, if the driver has made it one."""
        name = f"{class_ref.namespace}/{secret_name}"
        for _ in range(TRIES):
            if await self._release(class_ref, secret_name, owners):
                return
            await asyncio.sleep(PAUSE * random.uniform(0.5, 1.5))
        raise Aborted(f"Secret {name} keeps being changed by others; it will be tried again")

    async def owners(self, pod: Pod, target_path: str) -> Sequence[Owner] | None:
        """None for a pod that is gone or being deleted. Else the pod's owners; for a bare pod its pod status, as with
        the Go driver: it is collected with the pod. Empty if that is not written soon. Raises OwnerRefused if it cannot
        be written, or another Failure if the pod cannot be read."""
        try:
            found = await self._api.call("GET", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}")
        except NotFound:
            return None
        except PermissionDenied as failure:
            raise PermissionDenied(rights_missing(pod.namespace, failure)) from None
        metadata = found["metadata"]
        if metadata["uid"] != pod.uid or metadata.get("deletionTimestamp"):
            return None
        if references := metadata.get("ownerReferences"):
            return [Owner(item["apiVersion"], item["kind"], item["name"], item["uid"]) for item in references]
        try:
            identity = await self._statuses.identity(target_path)
        except Failure as failure:
            raise OwnerRefused(f"the pod status of {pod}, which is to own the Secret, is refused: {failure}") from None
        return [] if identity is None else [Owner(GROUP_VERSION, pod_status.KIND, *identity)]

    async def _write(self, wanted: Wanted, owners: Owners) -> Outcome | None:
        """One try; None if somebody else changed the Secret meanwhile."""
        try:
            found = await self._get(wanted)
        except Conflict:
            return None
        fetched = self._fetched(wanted)
        if found is None:
            body = new_secret(wanted, await owners.required(), fetched)
            with suppress(Conflict, NotFound), explained(wanted):
                await self._api.call("POST", _path(wanted.namespace), body=body, webhook_seconds=0.0)
                return Outcome(True)
            return None
        change: Change = merge(found, wanted, await owners.known(), fetched, adopt=self._adopt)
        if change.patch is not None:
            change = merge(found, wanted, await owners.confirmed(change.only_owners), fetched, adopt=self._adopt)
        if change.patch is None:
            return Outcome(False)
        with suppress(Conflict, NotFound), explained(wanted):
            refused = await self._change(wanted, change)
            written = not refused or change.without_owners() is not None
            return Outcome(written, change.adopted, change.taken, refused)
        return None

    async def _release(self, class_ref: ClassRef, secret_name: str, owners: Owners) -> bool:
        """One try; False if somebody else changed the Secret meanwhile."""
        path = _path(class_ref.namespace, secret_name)
        with suppress(Conflict):
            try:
                found = await self._found(path)
            except (InvalidRequest, PermissionDenied) as failure:
                if is_refused_by_policy(failure):  # it is somebody else's now
                    return True
                raise
            except NotFound:
                return True
            try:
                patch = release(found, class_ref.name, await owners.required(), self._api.server_time())
                if patch is not None:
                    await self._patch(path, patch)
            except NotFound:
                return True
            except (InvalidRequest, PermissionDenied) as failure:
                raise PermissionDenied(
                    f"SecretProviderClass {class_ref} does not list Secret {secret_name} any more, but remains its "
                    f"owner, so that it is deleted with the class only: {failure}"
                ) from None
            return True
        return False

    async def _found(self, path: str) -> dict[str, Any]:
        if self._read_by_patch:
            return await self._patch(path, {})
        return await self._api.call("GET", path)

    async def _patch(self, path: str, body: object) -> dict[str, Any]:
        return await self._api.call("PATCH", path, body=body, content_type=MERGE_PATCH, webhook_seconds=0.0)

    def _fetched(self, wanted: Wanted) -> Fetched:
        """When the values were fetched: the API server's time, which its last answer told, minus their age."""
        now = self._api.server_time()
        return Fetched(0.0 if wanted.refreshed_at is None else now - (clock.now() - wanted.refreshed_at), now)

    async def _change(self, wanted: Wanted, change: Change) -> str:
        """Make a change; if it is refused because of its owners, make it without them: a Secret with yesterday's
        content is worse than one without today's owner. Returns what to do about the owners; empty if they are set."""
        path = _path(wanted.namespace, wanted.name)
        try:
            await self._patch(path, change.patch)
            return ""
        except (InvalidRequest, PermissionDenied) as failure:
            if not change.changes_owners or not is_refused_by_admission(failure):
                raise
            rest = change.without_owners()
            if rest is not None:
                await self._patch(path, rest)
            return forbidden(wanted, failure)

    async def _get(self, wanted: Wanted) -> dict[str, Any] | None:
        path = _path(wanted.namespace, wanted.name)
        try:
            with explained(wanted):
                return await self._read(wanted, path)
        except NotFound:
            return None

    async def _read(self, wanted: Wanted, path: str) -> dict[str, Any]:
        try:
            return await self._found(path)
        except (InvalidRequest, PermissionDenied) as failure:
            if not is_refused_by_policy(failure):
                raise
            raise foreign_secret(wanted, f"; or a policy does not allow its type or namespace ({failure})") from None


def _path(namespace: str, name: str = "") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets" + (f"/{name}" if name else "")
