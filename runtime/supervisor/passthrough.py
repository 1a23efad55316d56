"""What the roles write, passed through line by line: text with the role's name before it, JSON as it is.

A line is held until it is complete, or its role has ended, or it has grown to MAX_LINE_BYTES bytes.
"""

import os
import select
from typing import Any

MAX_LINE_BYTES = 64 * 1024
_PATIENCE_MS = 1000
_TARGETS = {"stdout": 1, "stderr": 2}


class PassThrough:
    """Takes supervisord's log events."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._parts: dict[tuple[str, str], bytes] = {}

    def take(self, event: Any) -> None:
        """A piece of a role's output."""
        key = (event.process.config.name, event.channel)
        data: bytes = self._parts.pop(key, b"") + event.data
        *lines, rest = data.split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self._parts[key] = rest
        self._write(key, lines)

    def flush(self, name: str) -> None:
        """The role has ended: its last line is complete as it is."""
        for channel in _TARGETS:
            rest = self._parts.pop((name, channel), None)
            if rest is not None:
                self._write((name, channel), [rest])

    def _write(self, key: tuple[str, str], lines: list[bytes]) -> None:
        name, channel = key
        prefix = b"" if self._as_json else f"[{name}] ".encode()
        write_all(_TARGETS[channel], b"".join(prefix + line + b"\n" for line in lines))


def write_all(fd: int, data: bytes) -> None:
    """All of ``data``, however many writes it takes; a reader that is gone is no reason to stop supervising, nor is
    one that takes nothing for a second from a pipe that somebody made non-blocking."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if not poll.poll(_PATIENCE_MS):
                return
        except OSError:
            return
