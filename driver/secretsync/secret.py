"""The Secret that a SecretSync wants, from the files of a provider's reply.

What is wrong is a ``SyncFailure`` with the condition's reason, and contains nothing of a file.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Protocol

from driver import limits
from driver.objects.secret_syncs import RESERVED_PREFIX, Object, SecretSync
from driver.ports import ProviderClass
from driver.secretsync import conditions
from driver.sync.key_sources import EntriesParser, collect, require_keys
from driver.sync.parser.client import BadPart
from driver.sync.wanted import TlsParser, tls_data
from driver.volume.payload import first_names
from runtime.errors import Failure, PreconditionFailed


class SyncFailure(Failure):
    """A sync failed; ``reason`` is that of the condition. ``overloaded``: only time can help. ``away``: the provider
    could not be called."""

    def __init__(self, reason: str, sentence: str, *, overloaded: bool = False, away: bool = False) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.overloaded = overloaded
        self.away = away


def misconfigured(class_name: str, sentence: str, *, away: bool = False) -> SyncFailure:
    """The failure of a class that is missing or cannot be used."""
    text = f'failed to get SecretProviderClass "{class_name}": {sentence}'
    return SyncFailure(conditions.MISCONFIGURED, text, away=away)


class Deleted(Exception):
    """The SecretSync was deleted while it was synced: there is nothing more to write."""


def check_metadata(sync: SecretSync) -> None:
    """Refuse labels and annotations that only the controller sets. The CRD refuses them too."""
    for what, entries, reason in (
        ("label", sync.labels, conditions.LABEL_ERROR),
        ("annotation", sync.annotations, conditions.ANNOTATION_ERROR),
    ):
        for key in entries:
            if key.startswith(RESERVED_PREFIX):
                raise SyncFailure(
                    reason,
                    f"spec.secretObject.{what}s: {key} begins with {RESERVED_PREFIX}, which is reserved: remove it",
                )


class ObjectParser(TlsParser, EntriesParser, Protocol):
    """Reads what a store delivers, in a process that can be killed."""


async def data_of(
    sync: SecretSync, files: Mapping[str, bytes], parser: ObjectParser
) -> tuple[Mapping[str, bytes], Sequence[str]]:
    """The Secret's data, and the keys that several sources have. Raises SyncFailure."""
    try:
        data, repeated = await collect(sync.data_from, files, sync.ref.namespace, parser)
        if not sync.data:
            require_keys(data)
    except PreconditionFailed as failure:
        sentence = f"{conditions.FAILED_FETCH}: spec.secretObject.{failure}"
        raise SyncFailure(conditions.FETCH_FAILED, sentence) from None
    repeated += [key for key, _ in sync.data if key in data]
    for key, path in sync.data:
        if path not in files:
            raise SyncFailure(
                conditions.FETCH_FAILED,
                f"{conditions.FAILED_FETCH}: file matching sourcePath {path} not found in the provider's reply, which "
                f"has: {first_names(files)}",
            )
        data[key] = files[path]
    size = sum(map(len, data.values()))
    if size > limits.MAX_SECRET_BYTES:
        raise SyncFailure(
            conditions.FETCH_FAILED,
            f"{conditions.FAILED_FETCH}: the data are {size} bytes, and a Secret holds at most "
            f"{limits.MAX_SECRET_BYTES}: divide them among several SecretSyncs",
        )
    try:
        return await tls_data(sync.ref.namespace, sync.type, data, parser), repeated
    except BadPart as bad:
        sentence = bad.sentence_for(dict(sync.data), "sourcePath")
        raise SyncFailure(conditions.FETCH_FAILED, f"{conditions.FAILED_FETCH}: {sentence}") from None


def build(sync: SecretSync, data: Mapping[str, bytes]) -> Object:
    """The object to apply."""
    metadata: Object = {
        "namespace": sync.ref.namespace,
        "name": sync.ref.name,
        "labels": {**sync.labels, RESERVED_PREFIX: ""},
        "ownerReferences": [sync.owner_reference()],
    }
    if sync.annotations:
        metadata["annotations"] = dict(sync.annotations)
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": sync.type,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def sync_hash(sync: SecretSync, provider_class: ProviderClass, version: str) -> str:
    """The status's ``syncHash``: changes whenever the Secret was written, or the objects that it is made from changed.

    It is computed from the Secret's resourceVersion, which the API server changes with the content, and not from the
    content itself: whoever may read the status must not be able to guess a short password with it. The official
    controller pays 50 ms of CPU for a slow hash of the content (prefix ``v1:``).
    """
    parts = [version, provider_class.fingerprint, sync.uid, str(sync.generation), sync.force]
    return "rv1:" + hashlib.sha256(json.dumps(parts).encode()).hexdigest()
