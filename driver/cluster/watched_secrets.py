"""The metadata of the Secrets that SecretSyncs have made, by one watch with their label.

Only if the account may list and watch Secrets, which RBAC cannot limit to metadata. Without that right each Secret is
asked about by a patch instead.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Protocol

from driver.cluster.api import WATCH_IDLE_SECONDS, Api
from driver.cluster.class_store import LIST_ACCEPT, ONE_ACCEPT
from driver.cluster.follow import Follower
from driver.cluster.listing import pages
from driver.objects.secret_syncs import RESERVED_PREFIX, Object, SyncRef
from runtime import logs
from runtime.errors import Failure

log = logs.get(__name__)

PATH = "/api/v1/secrets"
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
SELECTOR = {"labelSelector": RESERVED_PREFIX}
PAGE = 500
REVIEW_SECONDS = 30.0
FORBIDDEN = "Secrets cannot be watched any more: changes of them by others go unnoticed until the next sync"


class Listener(Protocol):
    """Learns how the Secrets are. The methods must not block."""

    def secrets_listed(self, found: Mapping[SyncRef, str], at: str) -> None:
        """These exist, with these resourceVersions, and no others, as of the resourceVersion ``at``."""

    def secret_changed(self, ref: SyncRef, version: str, at: str) -> None:
        """One has this resourceVersion, empty if it was deleted, as of the resourceVersion ``at``."""


async def may_watch(api: Api) -> bool:
    """Whether the account may list and watch all Secrets; False also if that cannot be found out."""
    for verb in ("list", "watch"):
        spec = {"resourceAttributes": {"verb": verb, "resource": "secrets"}}
        body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": spec}
        try:
            async with asyncio.timeout(REVIEW_SECONDS):
                answer = await api.call("POST", REVIEWS, body=body)
        except (Failure, TimeoutError) as failure:
            log.verbose(2, "The account's rights cannot be found out", err=failure)
            return False
        if not (answer.get("status") or {}).get("allowed"):
            return False
    return True


class WatchedSecrets:
    """Tells a listener; ``run`` watches."""

    def __init__(self, api: Api, listener: Listener, idle_seconds: float = WATCH_IDLE_SECONDS) -> None:
        self._api = api
        self._listener = listener
        self._follower = Follower(
            api,
            PATH,
            ONE_ACCEPT,
            idle_seconds,
            on_list=self._list,
            on_event=self._handle,
            forbidden=FORBIDDEN,
            query=SELECTOR,
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        await self._follower.run()

    async def _list(self) -> str:
        found, version = dict[SyncRef, str](), ""
        async for page in pages(self._api, PATH, PAGE, query=SELECTOR, accept=LIST_ACCEPT):
            found |= map(_ref_and_version, page.items)
            version = page.version
        self._listener.secrets_listed(found, version)
        return version

    async def _handle(self, event: Mapping[str, Any]) -> None:
        ref, version = _ref_and_version(event["object"])
        self._listener.secret_changed(ref, "" if event["type"] == "DELETED" else version, version)


def _ref_and_version(item: Object) -> tuple[SyncRef, str]:
    metadata = item["metadata"]
    return SyncRef(metadata["namespace"], metadata["name"]), str(metadata["resourceVersion"])
