"""The roles' output and the supervisor's own, filtered and written line by line; text has the role's name as a prefix.

A line is held back until it is complete, its role has ended, or it has grown to LOG_LINE_BYTES.
"""

import io
import os
import secrets
from collections.abc import Iterable
from typing import Any

from runtime import logs
from runtime.limits import LOG_FLUSH_SECONDS, LOG_LINE_BYTES
from runtime.supervisor.line_filter import LineFilter
from runtime.supervisor.sink import Sink

log = logs.get(__name__)


OWN = "supervisor"


class ContainerOutput:
    """The two sinks, and what is not yet a whole line. ``marker`` is at the start of each line of our own logs."""

    def __init__(self, *, as_json: bool) -> None:
        self.marker = f"{secrets.token_hex(8)} "
        self._as_json = as_json
        self._filters: dict[tuple[str, str], LineFilter] = {}
        self._incomplete: dict[tuple[str, str], bytes] = {}
        self._own_sink = Sink(2, self._report_loss)
        # Both streams may be one file. Two sinks would write into each other's lines.
        same = os.path.sameopenfile(1, 2)
        self._sinks = {"stdout": self._own_sink if same else Sink(1, self._report_loss), "stderr": self._own_sink}

    @property
    def sinks(self) -> Iterable[Sink]:
        """The sinks, for the main loop to wait for."""
        return set(self._sinks.values())

    def forward(self, event: Any) -> None:
        """Write the lines that a chunk of a role's output completes. The argument is one of supervisord's log events
        (http://supervisord.org/events.html#process-log-event-type)."""
        self.write((event.process.config.name, event.channel), event.data)

    def write(self, key: tuple[str, str], data: bytes) -> None:
        """Write the lines that ``data`` completes; ``key`` is the name of the process and of its stream."""
        data = self._incomplete.pop(key, b"") + data
        *lines, rest = data.split(b"\n")
        while len(rest) > LOG_LINE_BYTES:
            lines.append(rest[:LOG_LINE_BYTES])
            rest = rest[LOG_LINE_BYTES:]
        if rest:
            self._incomplete[key] = rest
        self._write(key, lines)

    def flush(self, name: str) -> None:
        """The role has ended: write its incomplete last lines."""
        for channel in self._sinks:
            rest = self._incomplete.pop((name, channel), None)
            if rest is not None:
                self._write((name, channel), [rest])

    def close(self) -> None:
        """The supervisor ends: what is still waiting gets a last, short chance."""
        for sink in self.sinks:
            sink.flush(LOG_FLUSH_SECONDS)

    def _write(self, key: tuple[str, str], lines: list[bytes]) -> None:
        name, channel = key
        if key not in self._filters:
            self._filters[key] = LineFilter(name, channel, marker=self.marker.encode(), as_json=self._as_json)
        sink = self._own_sink if name == OWN else self._sinks[channel]
        sink.write([self._filters[key].filter(line) for line in lines])

    def _report_loss(self, sink: Sink, lines: int) -> None:
        before, self._own_sink = self._own_sink, sink
        try:
            log.warning("Lines were dropped here, because the container's output was not read", lines=lines)
        finally:
            self._own_sink = before


class OwnStream(io.TextIOBase):
    """The supervisor's stdout or stderr: whatever it prints takes the way of the roles' output."""

    def __init__(self, output: ContainerOutput, channel: str) -> None:
        self._output = output
        self._key = (OWN, channel)

    def write(self, text: str) -> int:
        """Write the lines that ``text`` completes."""
        self._output.write(self._key, text.encode(errors="replace"))
        return len(text)

    def flush(self) -> None:
        """Whole lines have been written already."""
