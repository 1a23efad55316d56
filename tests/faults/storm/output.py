"""What the processes of the storm print: read without pause, unless the reader is told to stop, and searched for what
must not be in it."""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

KEPT_LINES = 2000
_CHUNK = 1 << 16
# How much of the text before is searched again, so that nothing is missed between two reads.
_OVERLAP = 4096
BUGS = (b"Traceback (most recent call last)", b"Unhandled exception")


class Output:
    """Reads a pipe in a thread; ``lines`` are the last ones. ``complain`` is called with what was found."""

    def __init__(self, name: str, forbidden: Sequence[bytes], complain: Callable[[str], None]) -> None:
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self.bytes_read = 0
        self.reading = threading.Event()
        self.reading.set()
        self._name, self._forbidden, self._complain = name, list(forbidden), complain
        self._found: set[bytes] = set()
        self._stack: list[str] = []

    def read_all(self, fd: int) -> None:
        """Read a descriptor to its end in a new thread, and close it."""
        threading.Thread(target=self._read, args=(fd,), name=f"output of {self._name}", daemon=True).start()

    def _read(self, fd: int) -> None:
        tail = rest = b""
        try:
            while self.reading.wait() and (chunk := os.read(fd, _CHUNK)):
                self.bytes_read += len(chunk)
                self._search(tail + chunk)
                tail = (tail + chunk)[-_OVERLAP:]
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    self._keep(line)
        finally:
            os.close(fd)
            if self._stack:
                self._complain(f"{self._name} logged a bug and ended: {self._stack[-1].strip()}")
                self._stack.clear()

    def _keep(self, line: bytes) -> None:
        text = line.decode(errors="replace")
        self.lines.append(text)
        if self._stack and not text.startswith(" "):
            self._complain(f"{self._name} logged a bug: {self._stack[-1].strip()}: {text}")
            self._stack.clear()
        elif self._stack:
            self._stack.append(text)
        elif BUGS[0] in line:
            self._stack.append(text)  # the complaint names the last frame and the exception, which follow
        elif BUGS[1] in line:
            self._complain(f"{self._name} logged a bug: {text}")

    def _search(self, text: bytes) -> None:
        for secret in self._forbidden:
            if secret in text and secret not in self._found:
                self._found.add(secret)
                self._complain(f"a canary was printed by {self._name}: {secret!r}")
