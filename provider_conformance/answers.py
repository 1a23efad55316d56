"""What a provider answered, and the secrets that no answer's text may repeat."""

import base64
import os
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import grpc

from protos import provider_pb2

# Shorter values turn up in texts by chance.
_SHORTEST_SECRET, _LONGEST_NEEDLE = 8, 64


@dataclass(frozen=True)
class File:
    """One file of a volume, as replied or as found in the target directory."""

    path: str
    mode: int
    contents: bytes = field(repr=False)


@dataclass(frozen=True)
class Answer:
    """How one Mount call ended. ``text`` is the error's sentence, with known secrets masked; ``size`` the reply's bytes
    on the wire; ``files`` what the reply contains or, where it has no files, what the provider wrote itself."""

    code: grpc.StatusCode
    text: str = ""
    size: int = 0
    reply: provider_pb2.MountResponse = field(default_factory=provider_pb2.MountResponse, repr=False)
    files: Sequence[File] = ()

    @property
    def ok(self) -> bool:
        """Whether the volume was delivered."""
        return self.code is grpc.StatusCode.OK and not self.reply.error.code

    @property
    def outcome(self) -> str:
        """The result in a few words, for a report."""
        if self.code is not grpc.StatusCode.OK:
            return f"{self.code.name} ({self.text[:200]})" if self.text else f"{self.code.name} without a text"
        return f"error.code {self.text!r}" if self.reply.error.code else "OK"

    @property
    def versions(self) -> Mapping[str, str]:
        """Versions by object id."""
        return {item.id: item.version for item in self.reply.object_version}

    @property
    def contents(self) -> Mapping[str, bytes]:
        """Contents by path."""
        return {item.path: item.contents for item in self.files}


def written(target: str) -> list[File]:
    """The regular files below a target directory, except those whose names begin with two dots: they are the
    writer's own."""
    files = []
    for directory, names, entries in os.walk(target):
        names[:] = [name for name in names if not name.startswith("..")]
        for entry in entries:
            path = os.path.join(directory, entry)
            status = os.lstat(path)
            if stat.S_ISREG(status.st_mode) and not entry.startswith(".."):
                with open(path, "rb") as file:
                    files.append(File(os.path.relpath(path, target), stat.S_IMODE(status.st_mode), file.read()))
    return files


class KnownSecrets:
    """The secret values that the suite has sent or received, and in which texts of errors they were repeated."""

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._needles: set[str] = set()
        self.echoed: list[str] = []
        for value in values:
            self.add(value.encode())

    def add(self, value: bytes) -> None:
        """Look for a value, and for its base64, from now on; of a long one, for its beginning."""
        value = value.strip()
        if len(value) < _SHORTEST_SECRET:
            return
        encoded = base64.b64encode(value).decode().rstrip("=")
        self._needles.update((value.decode(errors="replace")[:_LONGEST_NEEDLE], encoded[:_LONGEST_NEEDLE]))

    def mask(self, text: str, code: grpc.StatusCode) -> str:
        """The text without known values; one that had any is noted in ``echoed``."""
        masked = text
        for needle in sorted(self._needles, key=len, reverse=True):
            masked = masked.replace(needle, "***")
        if masked != text:
            self.echoed.append(f"{code.name} ({masked[:200]})")
        return masked
