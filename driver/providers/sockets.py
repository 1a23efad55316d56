"""Finds the sockets of the providers that are installed on this node."""

import os
import re
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress

from runtime import redact
from runtime.errors import PreconditionFailed
from runtime.sockets import why_not_served

_SUFFIX = ".sock"
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,30}")


class ProviderSockets:
    """The directories in which each provider has a socket ``<name>.sock``, in the order in which they are searched."""

    def __init__(self, directories: Sequence[str]) -> None:
        self.directories = tuple(directories)

    def find(self, name: str, is_connected: Callable[[str], bool] = lambda _: False) -> str | None:
        """The path of the provider's socket; None if there is none. Raises PreconditionFailed for an invalid name.

        Of several it is the first on which a process listens: a provider that was killed, or moved to another
        directory, leaves a dead socket behind. A path that ``is_connected`` is not tried, nor is the last one if no
        other is left, because providers may log each connection that is closed without a call.
        """
        paths = [path for path in self._paths(name) if _is_socket(path)]
        for path in paths[:-1]:
            if is_connected(path) or not why_not_served(path):
                return path
        return paths[-1] if paths else None

    def problems(self, name: str) -> list[str]:
        """What is wrong with each path of the provider at which something is, as sentences without a full stop."""
        return [problem for path in self._paths(name) if (problem := _problem(path))]

    def is_served(self, name: str) -> bool:
        """Whether a process listens at any path of the provider."""
        return any(_is_socket(path) and not why_not_served(path) for path in self._paths(name))

    def why_away(self, name: str) -> str:
        """Why the provider cannot be connected to, without a full stop."""
        return "; ".join(self.problems(name)) or f"its socket is no longer in {', '.join(self.directories)}"

    @staticmethod
    def is_name(text: str) -> bool:
        """Whether a provider may have this name."""
        return _NAME.fullmatch(text) is not None

    def others(self, name: str, used: str) -> list[str]:
        """The paths besides the ``used`` one at which a provider of this name listens."""
        return [path for path in self._paths(name) if path != used and _is_socket(path) and not why_not_served(path)]

    def served(self, names: Collection[str]) -> set[str]:
        """Those of ``names`` at one of whose paths a process listens."""
        return {name for name in names if self.is_served(name)}

    def installed(self) -> list[str]:
        """The names of all providers that have a socket, sorted."""
        names: set[str] = set()
        for directory in self.directories:
            with suppress(OSError), os.scandir(directory) as entries:  # a missing directory contains no sockets
                names.update(
                    entry.name.removesuffix(_SUFFIX)
                    for entry in entries
                    if entry.name.endswith(_SUFFIX) and _is_socket(entry.path)
                )
        return sorted(names)

    def _paths(self, name: str) -> list[str]:
        if not self.is_name(name):
            raise PreconditionFailed(
                f'error connecting to provider "{redact.text(name)}": invalid provider: '
                f"a name has 1 to 30 letters, digits, - and _, and no spaces; on this node there are: "
                f"{', '.join(self.installed()) or 'none'}; correct spec.provider of the class"
            )
        return [os.path.join(directory, f"{name}{_SUFFIX}") for directory in self.directories]


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


def _problem(path: str) -> str:
    """What is wrong with a path; empty if nothing is there."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            return f"{path} is not a socket"
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is a symbolic link to nothing" if os.path.islink(path) else ""
    except OSError as error:
        return f"{path} cannot be read: {error.strerror or error}"
    return why_not_served(path) or f"{path} does not answer"
