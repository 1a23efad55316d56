"""Secrets by server-side apply (https://kubernetes.io/docs/reference/using-api/server-side-apply/), never read.

The account has no right to read Secrets, and the answers are asked for without their data. So:

- Whether a Secret was changed or deleted by others is asked by a merge patch that changes nothing and names the
  resourceVersion of the last write: 409 if it was changed, 404 if it was deleted.
- Whether a Secret that exists is somebody else's is asked, before the first write, by a dry run: its answer has the
  owners and the managers of the fields that the Secret would have.
"""

from typing import Any

from driver.cluster.answers import Conflict
from driver.cluster.api import APPLY_PATCH, MERGE_PATCH, Api
from driver.objects.secret_syncs import FIELD_MANAGER, Object, SyncRef
from runtime.errors import NotFound, PreconditionFailed

_METADATA = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


class AppliedSecrets:
    """Implements ``secretsync.ports.Secrets``."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def apply(self, secret: Object, *, first: bool) -> str:
        """Make the Secret what it should be; returns its resourceVersion. Raises a Failure with the server's text."""
        if first:
            _check_ours(secret, await self._apply(secret, {"dryRun": "All"}))
        return str((await self._apply(secret, {}))["metadata"]["resourceVersion"])

    async def is_unchanged(self, ref: SyncRef, version: str) -> bool:
        """Whether the Secret exists and still has this resourceVersion."""
        patch = {"metadata": {"resourceVersion": version}}
        query = {"fieldManager": FIELD_MANAGER}
        try:
            await self._api.call(
                "PATCH", ref.secret_path, query=query, body=patch, content_type=MERGE_PATCH, accept=_METADATA
            )
        except (Conflict, NotFound):
            return False
        return True

    async def _apply(self, secret: Object, query: dict[str, str]) -> dict[str, Any]:
        metadata = secret["metadata"]
        path = SyncRef(metadata["namespace"], metadata["name"]).secret_path
        return await self._api.call(
            "PATCH",
            path,
            query={"fieldManager": FIELD_MANAGER, **query},
            body=secret,
            content_type=APPLY_PATCH,
            accept=_METADATA,
            quoted=True,
        )


def _check_ours(secret: Object, result: dict[str, Any]) -> None:
    """Refuse to write to a Secret that others own or have filled. Raises PreconditionFailed."""
    metadata = result["metadata"]
    mine = {item["uid"] for item in secret["metadata"]["ownerReferences"]}
    owners = {item["uid"] for item in metadata.get("ownerReferences") or ()}
    fillers = sorted(
        str(item.get("manager"))
        for item in metadata.get("managedFields") or ()
        if item.get("manager") != FIELD_MANAGER and {"f:data", "f:stringData"} & (item.get("fieldsV1") or {}).keys()
    )
    if owners - mine or fillers:
        name = metadata["name"]
        by = f" by {', '.join(fillers)}" if fillers else ""
        raise PreconditionFailed(
            f'a Secret "{name}" that was not made for this SecretSync exists already{by}; it is left as it is: delete '
            "it, or give the SecretSync another name"
        )
