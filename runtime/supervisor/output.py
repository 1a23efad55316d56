"""The roles' output and the supervisor's own, written line by line: text with the role's name as a prefix, JSON
unchanged.

A line is held back until it is complete, its role has ended, or it has grown to LOG_LINE_BYTES.
"""

import io
import os
from collections.abc import Iterable
from typing import Any

from runtime import logs
from runtime.limits import LOG_FLUSH_SECONDS, LOG_LINE_BYTES
from runtime.supervisor.sink import Sink

log = logs.get(__name__)


class ContainerOutput:
    """The two sinks, and what is not yet a whole line."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
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
        key = (event.process.config.name, event.channel)
        data: bytes = self._incomplete.pop(key, b"") + event.data
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

    def write_own(self, text: str) -> None:
        """Write a line of the supervisor's own, which ends with a newline."""
        self._own_sink.write([self._prefix("supervisor") + text.encode(errors="replace")])

    def _write(self, key: tuple[str, str], lines: list[bytes]) -> None:
        name, channel = key
        prefix = self._prefix(name)
        self._sinks[channel].write(prefix + line + b"\n" for line in lines)

    def _prefix(self, name: str) -> bytes:
        return b"" if self._as_json else f"[{name}] ".encode()

    def _report_loss(self, sink: Sink, lines: int) -> None:
        before, self._own_sink = self._own_sink, sink
        try:
            log.warning("Lines were dropped here, because the container's output was not read", lines=lines)
        finally:
            self._own_sink = before


class OwnLines(io.TextIOBase):
    """The stream of the supervisor's own log lines."""

    def __init__(self, output: ContainerOutput) -> None:
        self._output = output

    def write(self, text: str) -> int:
        """One log line, which ends with a newline."""
        self._output.write_own(text)
        return len(text)

    def flush(self) -> None:
        """Nothing is buffered here."""
