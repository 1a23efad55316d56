"""The container's output streams, whoever reads them or does not."""

import fcntl
import os
import pty
import select
import socket
import termios
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.supervisor.sink import Sink

LINE = b"x" * 999 + b"\n"


def lost(sink: Sink, lines: int) -> None:
    """Reports lost lines as the supervisor does, by writing a line."""
    sink.write([b"%d lost\n" % lines])


def read_all(fd: int, sink: Sink) -> bytes:
    """Read whatever the sink can write until nothing more comes."""
    found = b""
    readable = select.poll()
    readable.register(fd, select.POLLIN)
    while readable.poll(200):
        with suppress(OSError):  # the end, of a terminal
            data = os.read(fd, 65536)
            if not data:
                break
            found += data
        if sink.writable():
            sink.handle_write_event()
    return found


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe, closed at the end if they are still open."""
    ends = os.pipe()
    yield ends
    for fd in ends:
        with suppress(OSError):
            os.close(fd)


def make_socket() -> tuple[int, int]:
    ends = socket.socketpair()
    return ends[0].detach(), ends[1].detach()


def make_terminal() -> tuple[int, int]:
    master, slave = pty.openpty()
    attributes = termios.tcgetattr(slave)
    attributes[1] &= ~termios.OPOST
    termios.tcsetattr(slave, termios.TCSANOW, attributes)
    return master, slave


@pytest.mark.parametrize("make", [os.pipe, make_socket, make_terminal])
def test_a_reader_that_pauses(make: Callable[[], tuple[int, int]]) -> None:
    """Nobody reads while ten times the backlog's limit is written → no write waits; when the reader is back it finds
    whole lines, and one line at the gap with the number of those that are missing. Our mode is not left on the
    terminal, pipe or socket, which others share."""
    reader, writer = make()
    sink = Sink(writer, lost, backlog_bytes=100_000)
    started = time.monotonic()
    for _ in range(1000):
        sink.write([LINE])
    assert time.monotonic() - started < 10.0  # one that waits does so for ever
    assert not fcntl.fcntl(writer, fcntl.F_GETFL) & os.O_NONBLOCK
    sink.write([b"too late\n"])
    found = read_all(reader, sink).splitlines()
    assert found.count(LINE.strip()) + int(found[-1].split()[0]) == 1001, found[-1]
    assert found[-1].endswith(b" lost") and set(found[:-1]) == {LINE.strip()}
    sink.write([b"back\n"])
    assert read_all(reader, sink) == b"back\n"
    sink.close()
    for fd in (reader, writer):
        os.close(fd)


def test_many_short_lines_count_for_what_they_take() -> None:
    """Empty lines have no length, but are objects → their number is limited, too."""
    reader, writer = os.pipe()
    sink = Sink(writer, lost, backlog_bytes=100_000)
    sink.write([b"x" * 65536])
    sink.write([b"\n"] * 100_000)
    assert len(sink._backlog) < 2000
    os.close(reader)
    os.close(writer)


def test_a_reader_that_is_gone(pipe: tuple[int, int]) -> None:
    """The reader has closed its end → every line is lost, nothing is kept and nothing raises."""
    reader, writer = pipe
    sink = Sink(writer, lost)
    os.close(reader)
    for _ in range(100):
        sink.write([LINE])
    assert not sink.writable()


def test_a_reader_that_comes_back(tmp_path: Path) -> None:
    """A named pipe loses its reader, and gets another one → that one is told how much is missing, and reads on."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink = Sink(os.open(path, os.O_WRONLY), lost)
    os.close(reader)
    sink.write([LINE, LINE])
    sink.write([LINE])
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    sink.write([b"back\n"])
    assert read_all(reader, sink) == b"3 lost\nback\n"


def test_a_full_disk(tmp_path: Path) -> None:
    """Only part of a line fits on the disk → later, when there is room, the next line starts on a line of its own,
    after one about what is missing."""
    path = tmp_path / "log"
    room = 1500

    def write_some(data: bytes) -> int:
        nonlocal room
        data = data[:room]
        room -= len(data)
        if not data:
            raise OSError(28, "No space left on device")
        return os.write(fd, data)

    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    sink = Sink(fd, lost)
    sink._write_some = write_some
    sink.write([LINE])
    sink.write([LINE])
    sink.write([LINE])
    room = 10_000
    sink.write([b"back\n"])
    assert path.read_bytes() == LINE + LINE[:500] + b"\n2 lost\nback\n"


def test_a_full_device() -> None:
    """Every write fails (/dev/full) → lines are lost, the sink is not."""
    fd = os.open("/dev/full", os.O_WRONLY)
    sink = Sink(fd, lost)
    sink.write([LINE] * 10)
    sink.write([LINE])
    assert not sink.writable()
    os.close(fd)


def test_a_file_that_others_append_to(tmp_path: Path) -> None:
    """The output is a file that another process writes to as well → neither overwrites the other."""
    path = tmp_path / "log"
    with path.open("ab") as file:
        sink = Sink(file.fileno(), lost)
        sink.write([b"one\n"])
        with path.open("ab") as other:
            other.write(b"other\n")
        sink.write([b"two\n"])
    assert path.read_bytes() == b"one\nother\ntwo\n"


def test_flush_is_bounded(pipe: tuple[int, int]) -> None:
    """At the end the reader is given a moment, and not more."""
    sink = Sink(pipe[1], lost)
    sink.write([LINE] * 200)
    started = time.monotonic()
    sink.flush(0.2)
    assert 0.15 < time.monotonic() - started < 10.0  # without a bound, for ever


def test_flush_waits_for_a_slow_reader(pipe: tuple[int, int]) -> None:
    """The reader reads on → the flush returns when all is written."""
    reader, writer = pipe
    sink = Sink(writer, lost)
    sink.write([LINE] * 70)
    slow = threading.Timer(0.1, os.read, (reader, 65536))
    slow.start()
    sink.flush(10.0)
    assert not sink.writable()
    slow.join()
