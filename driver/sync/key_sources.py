"""The keys that a Secret gets from whole objects (``dataFrom``), beside those that are listed one by one (``data``).

1. The sources are taken in their order, and what is listed one by one after them: of two sources of one key the later
   one counts.
2. The name of a key is the source's prefix and the name of the entry, or the path of the file. Characters that a key
   cannot have (any but letters, digits, ``-``, ``_`` and ``.``) become ``_``.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from driver import limits
from driver.ports import KeySource
from driver.sync.formats import READERS
from driver.sync.parser.client import BadPart
from runtime.errors import PreconditionFailed

LONGEST_KEY = 253
_FOREIGN = re.compile(r"[^-._a-zA-Z0-9]")


class EntriesParser(Protocol):
    """Reads objects with entries."""

    async def entries(self, namespace: str, kind: str, content: bytes) -> list[tuple[str, bytes]]:
        """All entries in their order. Raises BadPart."""


async def collect(
    sources: Sequence[KeySource], files: Mapping[str, bytes], namespace: str, parser: EntriesParser
) -> tuple[dict[str, bytes], list[str]]:
    """The keys of all sources, and those that several entries have. Raises PreconditionFailed, naming the field."""
    if len(sources) > limits.MAX_KEY_SOURCES:
        raise PreconditionFailed(f"dataFrom: {len(sources)} sources, and at most {limits.MAX_KEY_SOURCES} are possible")
    data: dict[str, bytes] = {}
    repeated: set[str] = set()
    size = 0
    for number, source in enumerate(sources):
        try:
            for name, value in await _entries(source, files, namespace, parser):
                key = key_of(source.prefix, name)
                if key in data:
                    repeated.add(key)
                size += len(value) - len(data.get(key, b""))
                data[key] = value
            _check(data, size)  # of each source: together they could use up the memory
        except PreconditionFailed as failure:
            raise PreconditionFailed(f"dataFrom[{number}]: {failure}") from None
    return data, sorted(repeated)


def _check(data: Mapping[str, bytes], size: int) -> None:
    keys, most = limits.MAX_SECRET_KEYS, limits.MAX_SECRET_BYTES
    if len(data) > keys:
        raise PreconditionFailed(f"with it there are {len(data)} keys, and at most {keys} are possible")
    if size > most:
        raise PreconditionFailed(f"with it there are {size} bytes, and a Secret holds at most {most}")


def require_keys(data: Mapping[str, bytes]) -> None:
    """Raises PreconditionFailed if the Secret would have no key: one with content would lose all of it."""
    if not data:
        raise PreconditionFailed("dataFrom: the objects have no entries, and a Secret without keys is not written")


def key_of(prefix: str, name: str) -> str:
    """The key for an entry. Raises PreconditionFailed."""
    key = _FOREIGN.sub("_", prefix + name)
    if key in ("", ".", ".."):
        raise PreconditionFailed(f"the name {key!r} of an entry cannot be a key: rename it, or set a prefix")
    if len(key) > LONGEST_KEY:
        raise PreconditionFailed(
            f"the key {key[:40]}… has {len(key)} characters, and at most {LONGEST_KEY} are possible"
        )
    return key


def check(source: KeySource, names: Collection[str] | None) -> None:
    """Raises PreconditionFailed for a source that cannot be read. ``names``: of the volume's files, if known."""
    if source.all:
        if source.object_name or source.format:
            raise PreconditionFailed("all takes every file: remove objectName and format, or all")
        return
    if not source.object_name:
        raise PreconditionFailed("set objectName and format, or all: true")
    if source.format not in READERS:
        raise PreconditionFailed(f"format {source.format or 'is missing and'} must be one of {', '.join(READERS)}")
    if names is not None and source.object_name not in names:
        shown = ", ".join(sorted(names)[:10])
        raise PreconditionFailed(f"file matching objectName {source.object_name} not found; there are: {shown}")


async def _entries(
    source: KeySource, files: Mapping[str, bytes], namespace: str, parser: EntriesParser
) -> Sequence[tuple[str, bytes]]:
    check(source, files)
    if source.all:
        return sorted(files.items())
    try:
        return await parser.entries(namespace, source.format, files[source.object_name])
    except BadPart as bad:
        raise PreconditionFailed(f"objectName {source.object_name}: {bad.sentence}") from None
