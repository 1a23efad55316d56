"""Counts the drivers' calls while they are made, by reading what the API server appends to its audit log.

``tests.cluster.audit`` parses all of a log; to wait for a number of calls, it is enough to look for words in its lines.
"""

from pathlib import Path


class AuditTail:
    """The lines of one user, from the moment on at which this is made. ``words`` are looked for in each line."""

    def __init__(self, path: Path, user: str, *words: str) -> None:
        self._path = path
        self._words = [word.encode() for word in (f'"username":"{user}"', *words)]
        self._position = path.stat().st_size if path.exists() else 0
        self._count = 0

    def count(self) -> int:
        """The number of lines so far that contain all words."""
        with self._path.open("rb") as log:
            log.seek(self._position)
            lines = log.read().rpartition(b"\n")[0]
        if lines:
            self._position += len(lines) + 1
            self._count += sum(all(word in line for word in self._words) for line in lines.split(b"\n"))
        return self._count


def opened_watches(path: Path, user: str) -> AuditTail:
    """Watches that the API server has accepted."""
    return AuditTail(path, user, '"verb":"watch"', '"code":200')


def created_events(path: Path, user: str) -> AuditTail:
    """Events that were created."""
    return AuditTail(path, user, '"verb":"create"', '"resource":"events"', '"code":201')
