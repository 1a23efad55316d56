"""Secrets by server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/), never read.

The account has no right to read Secrets, and the answers are asked for without their data. What must be known of a
Secret that exists is learned by merge patches that change nothing: they are answered with its metadata, and if they
name a resourceVersion that is not the Secret's any more, with 409.

1. A Secret that exists before the first write of this process, or is not as that has left it, and is not owned by the
   SecretSync, is somebody else's: it is left as it is.
2. It is applied without force. If others have taken fields over since (409), they are taken back, as long as the
   Secret is still owned by the SecretSync.
"""

from typing import Any

from driver.cluster.answers import Conflict
from driver.cluster.api import APPLY_PATCH, MERGE_PATCH, Api
from driver.objects.secret_syncs import FIELD_MANAGER, Object, SyncRef
from runtime.errors import NotFound, PermissionDenied, PreconditionFailed

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class AppliedSecrets:
    """Implements ``secretsync.ports.Secrets``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def apply(self, secret: Object, *, first: bool) -> str:
        """Make the Secret what it should be; returns its resourceVersion. Raises a Failure with the server's text."""
        ref = SyncRef(secret["metadata"]["namespace"], secret["metadata"]["name"])
        if first and not await self._may_be_written(ref, secret):
            raise PreconditionFailed(
                f'a Secret "{ref.name}" that was not made for this SecretSync exists already; it is left as it is: '
                "delete it, or give the SecretSync another name"
            )
        try:
            result = await self._patch(ref, secret, content_type=APPLY_PATCH)
        except Conflict:
            if not await self._may_be_written(ref, secret):
                raise
            result = await self._patch(ref, secret, content_type=APPLY_PATCH, force="true")
        return str(result["metadata"]["resourceVersion"])

    async def is_unchanged(self, ref: SyncRef, version: str) -> bool:
        """Whether the Secret exists and still has this resourceVersion."""
        try:
            await self._patch(ref, {"metadata": {"resourceVersion": version}})
        except (Conflict, NotFound):
            return False
        return True

    async def _may_be_written(self, ref: SyncRef, secret: Object) -> bool:
        """Whether there is no such Secret, or it is owned by the SecretSync. An admission policy that already refuses
        the question refuses the write, too, and says why."""
        try:
            found = await self._patch(ref, {})
        except (NotFound, PermissionDenied):
            return True
        owners = {item["uid"] for item in found["metadata"].get("ownerReferences") or ()}
        return owners == {item["uid"] for item in secret["metadata"]["ownerReferences"]}

    async def _patch(self, ref: SyncRef, body: Object, content_type: str = MERGE_PATCH, **query: str) -> dict[str, Any]:
        return await self._api.call(
            "PATCH",
            ref.secret_path,
            query={"fieldManager": FIELD_MANAGER, **query},
            body=body,
            content_type=content_type,
            accept=_METADATA,
            quoted=True,
            webhook_seconds=0.0,
        )
