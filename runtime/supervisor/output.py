"""The roles' output, forwarded line by line: text with the role's name as a prefix, JSON unchanged.

A line is held back until it is complete, its role has ended, or it has grown to MAX_LINE_BYTES.
"""

import os
import select
from typing import Any

MAX_LINE_BYTES = 64 * 1024
_WRITE_TIMEOUT_MS = 1000
_DESCRIPTORS = {"stdout": 1, "stderr": 2}


class OutputForwarder:
    """Receives supervisord's log events (http://supervisord.org/events.html#process-log-event-type)."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._incomplete: dict[tuple[str, str], bytes] = {}

    def forward(self, event: Any) -> None:
        """Forward the lines that a chunk of output completes."""
        key = (event.process.config.name, event.channel)
        data: bytes = self._incomplete.pop(key, b"") + event.data
        *lines, rest = data.split(b"\n")
        while len(rest) > MAX_LINE_BYTES:
            lines.append(rest[:MAX_LINE_BYTES])
            rest = rest[MAX_LINE_BYTES:]
        if rest:
            self._incomplete[key] = rest
        self._write(key, lines)

    def flush(self, name: str) -> None:
        """The role has ended: forward its incomplete last lines."""
        for channel in _DESCRIPTORS:
            rest = self._incomplete.pop((name, channel), None)
            if rest is not None:
                self._write((name, channel), [rest])

    def _write(self, key: tuple[str, str], lines: list[bytes]) -> None:
        name, channel = key
        prefix = b"" if self._as_json else f"[{name}] ".encode()
        write_all(_DESCRIPTORS[channel], b"".join(prefix + line + b"\n" for line in lines))


def write_all(fd: int, data: bytes) -> None:
    """Write all of ``data``, in as many system calls as necessary.

    Failures are ignored, because supervising must go on: the reader may be gone, or (on a pipe that somebody has made
    non-blocking) read nothing for a second.
    """
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            poll = select.poll()
            poll.register(fd, select.POLLOUT)
            if not poll.poll(_WRITE_TIMEOUT_MS):
                return
        except OSError:
            return
