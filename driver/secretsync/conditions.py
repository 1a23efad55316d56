"""The conditions of a SecretSync: their types, reasons and messages are those of the official controller.

``SecretCreated`` is about the first sync, ``SecretUpdated`` about all later ones.
"""

import time
from collections.abc import Mapping

from driver.objects.secret_syncs import Condition, SecretSync
from runtime.timestamps import timestamp

CREATED, UPDATED = "SecretCreated", "SecretUpdated"
MISCONFIGURED = "SecretProviderClassMisconfigured"
PROVIDER_ERROR = "ProviderError"
FETCH_FAILED = "RemoteSecretStoreFetchFailed"
SYNC_ERROR = "ControllerSyncError"
PATCH_ERROR = "ControllerPatchError"
LABEL_ERROR, ANNOTATION_ERROR = "InvalidClusterSecretLabelError", "InvalidClusterSecretAnnotationError"
CREATE_SUCCESSFUL = ("CreateSuccessful", "Secret created successfully.")
UP_TO_DATE = ("SecretUpToDate", "Secret contains last observed values.")
STARTING = {
    CREATED: ("SyncStarting", "The first sync has not ended yet."),
    UPDATED: ("NoUpdatesAttemptedYet", "The Secret has not been updated yet."),
}
FAILED_FETCH = "fetching secrets from the provider failed"


def starting(sync: SecretSync) -> tuple[Condition, ...]:
    """Before the first attempt has ended."""
    return _all(sync, {})


def succeeded(sync: SecretSync) -> tuple[Condition, ...]:
    """After a sync; the first one if there was none before."""
    kind, (reason, message) = (UPDATED, UP_TO_DATE) if sync.sync_hash else (CREATED, CREATE_SUCCESSFUL)
    return _all(sync, {kind: ("True", reason, message)})


def failed(sync: SecretSync, reason: str, message: str) -> tuple[Condition, ...]:
    """After a failure."""
    return _all(sync, {UPDATED if sync.sync_hash else CREATED: ("False", reason, message)})


def is_failing(sync: SecretSync) -> bool:
    """Whether the last attempt failed, as the status says."""
    return any(item.status == "False" for item in sync.conditions)


def _all(sync: SecretSync, news: Mapping[str, tuple[str, str, str]]) -> tuple[Condition, ...]:
    """Both conditions, the one that is not in ``news`` as it was. A later success ends a failure of the first sync."""
    former = {item.type: item for item in sync.conditions}
    result = []
    for kind in (CREATED, UPDATED):
        before = former.get(kind)
        if kind not in news and before is not None:
            result.append(before)
            continue
        status, reason, message = news.get(kind) or ("Unknown", *STARTING[kind])
        since = before.since if before is not None and before.status == status else timestamp(time.time())
        result.append(Condition(kind, status, sync.generation, reason, message, since))
    return tuple(result)
