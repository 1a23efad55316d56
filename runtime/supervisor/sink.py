"""The container's stdout and stderr, written without ever waiting for whoever reads them.

The reader may be slow, suspended or gone, and the supervisor must go on supervising. So a line that cannot be written
at once waits in a backlog of bounded size; when that is full, lines are dropped and counted, until half of it has been
read. Then one line says how many were lost, at the place where they are missing.

A write blocks unless its file is in non-blocking mode. That mode belongs to the open file description, which other
processes may share: set on a terminal, it would break the shell that has started us. So pipes and terminals are opened
a second time through /proc (proc_pid_fd(5)), which makes a description of our own; to a socket, which cannot be opened,
each send() is told not to wait. A regular file has no such mode, and is written directly.
"""

import os
import select
import socket
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial

from runtime.limits import LOG_BACKLOG_BYTES

_CHUNK_BYTES = 64 * 1024
# What keeping a line costs beyond its length, so that many short lines count for what they take.
_LINE_OVERHEAD = 64
# If a pipe or a terminal cannot be opened again, a write that poll() announced as possible takes at least this much.
_SAFE_BYTES = 512

Write = Callable[[bytes], int]


class Sink:
    """One output stream, with the interface of supervisord's dispatchers, so that its main loop waits for the reader.

    ``report`` writes the line about lost lines to this sink, by calling ``write``; its arguments are the sink and the
    number of lines. ``close`` gives back what the sink has opened itself; nothing may be written after it.
    """

    closed = False

    def __init__(self, fd: int, report: Callable[["Sink", int], None], backlog_bytes: int = LOG_BACKLOG_BYTES) -> None:
        self.fd, self._write_some, self.close = _open(fd)
        self._report_loss = report
        self._limit = backlog_bytes
        self._backlog: deque[bytes] = deque()
        self._size = 0
        self._dropping = False
        self._lost = 0
        self._begun = False  # the first line of the backlog is the rest of one
        self._cut = False  # the last line that was written has no end, since its rest was dropped

    def write(self, lines: Iterable[bytes]) -> None:
        """Write lines, each of which ends with a newline, now or later; those for which there is no room are lost."""
        if self._lost and not self._dropping:
            self._report()
        waiting = bool(self._backlog)
        for line in lines:
            cost = len(line) + _LINE_OVERHEAD
            self._dropping = self._dropping or self._size + cost > self._limit
            if self._dropping:
                self._lost += 1
            else:
                self._backlog.append(line)
                self._size += cost
        if not waiting:
            self._drain()

    def readable(self) -> bool:
        """Never: nothing is read from it."""
        return False

    def writable(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._backlog)

    def handle_write_event(self) -> None:
        """There is room for more, or the reader is gone."""
        self._drain()

    def handle_error(self) -> None:
        """Writing has failed in a way that is not foreseen: drop what waits, so that the main loop does not spin."""
        self._drop()

    def flush(self, seconds: float) -> None:
        """Before the process ends: wait for the reader, for at most ``seconds``."""
        deadline = time.monotonic() + seconds
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        while self._backlog and (left := deadline - time.monotonic()) > 0:
            poll.poll(left * 1000)
            self._drain()

    def _drain(self) -> None:
        """Write from the backlog until it is empty or the reader has to read first."""
        while self._backlog:
            try:
                self._forget(self._write_some(self._next_chunk()))
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # nobody can ever read it (EPIPE), or the disk is full (ENOSPC)
                self._drop()
                return
        if self._dropping and self._size <= self._limit // 2:
            self._dropping = False
            self._report()

    def _next_chunk(self) -> bytes:
        chunk, size = [b"\n"] if self._cut else [], 0
        for line in self._backlog:
            chunk.append(line)
            size += len(line)
            if size >= _CHUNK_BYTES:
                break
        return b"".join(chunk)

    def _forget(self, written: int) -> None:
        """So many bytes of the last chunk have been written."""
        if self._cut and written:
            self._cut = False
            written -= 1
        while written:
            line = self._backlog.popleft()
            self._begun = len(line) > written
            if self._begun:
                self._backlog.appendleft(line[written:])
                self._size -= written
                return
            written -= len(line)
            self._size -= len(line) + _LINE_OVERHEAD

    def _drop(self) -> None:
        self._lost += len(self._backlog)
        self._backlog.clear()
        self._size = 0
        self._dropping = False
        self._cut = self._cut or self._begun
        self._begun = False

    def _report(self) -> None:
        lost, self._lost = self._lost, 0
        self._report_loss(self, lost)
        if self._lost:  # that line was lost, too
            self._lost = lost


def _open(fd: int) -> tuple[int, Write, Callable[[], None]]:
    """A descriptor to wait for, a function that writes some bytes to it or raises BlockingIOError, and one to close
    it."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return fd, partial(os.write, fd), _nothing
    if stat.S_ISSOCK(mode):
        connection = socket.socket(fileno=os.dup(fd))
        flags = socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL
        return connection.fileno(), lambda data: connection.send(data, flags), connection.close
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # no /proc, or not permitted: the terminal of another user
        return fd, partial(_write_if_announced, fd), _nothing
    return own, partial(os.write, own), partial(os.close, own)


def _nothing() -> None:
    """The descriptor is not ours to close."""


def _write_if_announced(fd: int, data: bytes) -> int:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    if not poll.poll(0):
        raise BlockingIOError
    return os.write(fd, data[:_SAFE_BYTES])
