"""Finds the sockets of the providers that are installed on this node."""

import os
import re
from collections.abc import Sequence
from contextlib import suppress

from runtime import redact
from runtime.errors import PreconditionFailed

_SUFFIX = ".sock"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}")


class ProviderSockets:
    """The directories in which each provider has a socket ``<name>.sock``, in the order in which they are searched."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = tuple(directories)

    def find(self, name: str) -> str | None:
        """The path of the provider's socket; None if there is none. Raises PreconditionFailed for an invalid name."""
        if not _NAME.fullmatch(name):
            raise PreconditionFailed(
                f'error connecting to provider "{redact.text(name)}": invalid provider: '
                "a name has 1 to 30 letters, digits, - and _"
            )
        candidates = (os.path.join(directory, f"{name}{_SUFFIX}") for directory in self.directories)
        return next((path for path in candidates if os.path.exists(path)), None)

    def installed(self) -> list[str]:
        """The names of all providers that have a socket, sorted."""
        names: set[str] = set()
        for directory in self.directories:
            with suppress(OSError):  # a missing directory contains no sockets
                names.update(name.removesuffix(_SUFFIX) for name in os.listdir(directory) if name.endswith(_SUFFIX))
        return sorted(names)
