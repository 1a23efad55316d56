"""What a provider replies with: files and object versions, or an error code."""

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from protos import provider_pb2
from runtime.errors import Failure


@dataclass(frozen=True)
class File:
    """One file of the volume.

    ``path`` is relative to the volume's root and clean (no ``..``, no empty element). Without a ``mode`` the file gets
    the permission that the driver requests. One that the driver is bound to refuse is a bug of the provider: TypeError
    or ValueError.
    """

    path: str
    contents: bytes = field(repr=False)
    mode: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.contents, (bytes, bytearray)):
            raise TypeError(f"the contents of {self.path!r} are {type(self.contents).__name__}, not bytes")
        if not is_clean_path(self.path):
            raise ValueError(f"the path {self.path!r} is not relative and clean, such as app/password")
        if self.mode is not None and not 0 <= self.mode <= 0o777:
            raise ValueError(f"the mode of {self.path!r} is {self.mode:o}, and not permission bits such as 644")


@dataclass(frozen=True)
class MountReply:
    """The contents of one volume.

    ``versions`` maps each object's id to its version. No ``files`` means that the provider has written them to the
    target path itself. A reply without versions, which the driver refuses, or with two files of one path, of which only
    the last would count, is a bug of the provider: ValueError.
    """

    files: Sequence[File]
    versions: Mapping[str, str]

    def __post_init__(self) -> None:
        if not self.versions:
            raise ValueError("the reply has no object versions: the driver refuses it")
        paths = [file.path for file in self.files]
        if len(set(paths)) != len(paths):
            raise ValueError("the reply has two files with the same path: only the last would count")


def is_clean_path(path: str) -> bool:
    """Whether the driver accepts a file of this path: relative, without ``..`` or empty elements."""
    parts = path.split("/")
    leads_up = parts[0].startswith("..") or ".." in parts
    return not (
        leads_up or path.startswith("/") or "\0" in path or path in ("", ".") or posixpath.normpath(path) != path
    )


class ReplyError(Failure):
    """Refuse with the reply's own ``error.code`` instead of a gRPC status; the driver reports the code alone."""

    def __init__(self, code: str) -> None:
        super().__init__(f"refused with error code {code}")
        self.code = code


def encode_reply(reply: MountReply, permission: int) -> provider_pb2.MountResponse:
    """The message for the wire; ``permission`` is the mode of files that have none."""
    files = [
        provider_pb2.File(path=file.path, mode=permission if file.mode is None else file.mode, contents=file.contents)
        for file in reply.files
    ]
    versions = [provider_pb2.ObjectVersion(id=name, version=version) for name, version in reply.versions.items()]
    return provider_pb2.MountResponse(object_version=versions, files=files)
