"""Builds the Secret that a class wants, from an entry of ``spec.secretObjects`` and the files of a volume.

What is wrong with the entry or the files is a PreconditionFailed that names the field and what to do, and contains
nothing of a file. A volume that is being unpublished is NoContent.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from driver.ports import ClassRef, SecretObject
from driver.sync import key_sources, secret_entries
from driver.sync.key_sources import EntriesParser
from driver.sync.parser.client import BadPart
from driver.volume import content, layout
from runtime.errors import Failure, PreconditionFailed

TLS_TYPE = "kubernetes.io/tls"
TLS_KEYS = ("tls.crt", "tls.key", "ca.crt")
READ_TRIES = 3
_ID_DIGITS = 16


class NoContent(Failure):
    """The volume has no content, because it is being unpublished."""


@dataclass(frozen=True)
class Wanted:
    """A Secret as a class wants it. ``refreshed_at`` is that of the volume. ``content_id`` names its content: no other
    volume has the same, nor this one after a change. ``repeated`` are the keys that the entry has twice. ``files`` are
    those of the volume if keys come from whole objects, until ``with_objects`` has added them. ``class_uid`` is that of
    the class if it is to own the Secret, too."""

    namespace: str
    name: str
    type: str
    class_name: str
    data: Mapping[str, bytes] = field(repr=False)
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    refreshed_at: float | None
    content_id: str = ""
    repeated: tuple[str, ...] = ()
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    class_uid: str = ""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class TlsParser(Protocol):
    """Reads certificates and keys."""

    async def tls(self, namespace: str, parts: Mapping[str, bytes]) -> Mapping[str, bytes]:
        """What ``tls.crt``, ``tls.key`` and ``ca.crt`` get from these files. Raises BadPart."""


async def with_objects(secret: Wanted, item: SecretObject, parser: EntriesParser) -> Wanted:
    """The Secret with the keys of ``dataFrom``; what ``data`` lists takes precedence."""
    if not item.data_from:
        return secret
    try:
        found, repeated = await key_sources.collect(item.data_from, secret.files, secret.namespace, parser)
        data = {**found, **secret.data}
        key_sources.require_keys(data)
        secret_entries.check_size(data)
    except PreconditionFailed as failure:
        raise PreconditionFailed(
            f"failed to get data in spc {secret.namespace}/{secret.class_name} for secret {secret.name}, err: {failure}"
        ) from None
    repeated = sorted({*repeated, *secret.repeated, *(found.keys() & secret.data.keys())})
    return replace(secret, data=data, repeated=tuple(repeated), files={})


async def tls_data(namespace: str, kind: str, data: Mapping[str, bytes], parser: TlsParser) -> Mapping[str, bytes]:
    """The data of a Secret of type ``kubernetes.io/tls`` with its certificates and key in order; those of any other
    Secret as they are. Raises BadPart."""
    parts = {key: data[key] for key in TLS_KEYS if key in data}
    if kind != TLS_TYPE or not parts:
        return data
    return {**data, **await parser.tls(namespace, parts)}


async def with_tls(secret: Wanted, item: SecretObject, parser: TlsParser) -> Wanted:
    """The Secret with ``tls_data``."""
    try:
        data = await tls_data(secret.namespace, secret.type, secret.data, parser)
        return secret if data is secret.data else replace(secret, data=data)
    except BadPart as bad:
        names = {key.strip(): object_name.strip() for object_name, key in item.data}
        raise PreconditionFailed(
            f"failed to get data in spc {secret.namespace}/{secret.class_name} for secret {secret.name}, err: "
            f"{bad.sentence_for(names)}"
        ) from None


def build(class_ref: ClassRef, item: SecretObject, target_path: str, limit: int, refreshed_at: float | None) -> Wanted:
    """Read the volume and build the Secret. Blocks. ``limit`` is the most bytes to read."""
    try:
        secret_entries.check_fields(item)
        files, generation = _files(target_path, limit)
        keys = Counter(key.strip() for _, key in item.data)
        return Wanted(
            class_ref.namespace,
            item.secret_name.strip(),
            item.type.strip() or "Opaque",
            class_ref.name,
            secret_entries.data_of(item, files),
            item.labels,
            item.annotations,
            refreshed_at,
            hashlib.sha256(f"{target_path}|{generation}".encode()).hexdigest()[:_ID_DIGITS],
            tuple(sorted(key for key, times in keys.items() if times > 1)),
            files if item.data_from else {},
        )
    except NoContent:
        raise
    except Failure as failure:
        name = item.secret_name.strip() or "without a name"
        raise PreconditionFailed(f"failed to get data in spc {class_ref} for secret {name}, err: {failure}") from None


def _files(target_path: str, limit: int) -> tuple[Mapping[str, bytes], str]:
    """All files of one generation of the content, and its name: read again if it was swapped meanwhile."""
    for _ in range(READ_TRIES):
        before = _generation(target_path)
        files = content.read_files(target_path, limit)
        if before == _generation(target_path):
            break
    if not before and not files:  # without ..data, a provider may have written the files itself
        raise NoContent("the volume has no content")
    return files, before


def _generation(target_path: str) -> str:
    try:
        return os.readlink(os.path.join(target_path, layout.DATA))
    except OSError:
        return ""
