"""Where the sockets of providers are found, and what is said about those that nobody serves."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from driver.providers.sockets import ProviderSockets
from runtime.errors import PreconditionFailed


@pytest.fixture
def directories(tmp_path: Path) -> tuple[Path, Path]:
    """Two directories of sockets."""
    first, second = tmp_path / "1", tmp_path / "2"
    first.mkdir()
    second.mkdir()
    return first, second


@contextmanager
def listening(path: Path, backlog: int = 8) -> Iterator[socket.socket]:
    """A process listens at a path; afterwards the socket is dead, but there."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(backlog)
        yield server


def connections(server: socket.socket) -> int:
    """How many connections wait to be accepted."""
    server.setblocking(False)
    count = 0
    while True:
        try:
            server.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_order(directories: tuple[Path, Path]) -> None:
    """Sockets in both directories → the first one that is served; the last one, and one that is connected, are not
    tried; none is served → the last one."""
    first, second = (directory / "aws.sock" for directory in directories)
    sockets = ProviderSockets([str(directory) for directory in directories])
    assert sockets.find("aws") is None
    with listening(second) as server:
        assert sockets.find("aws") == str(second)
        with listening(first) as preferred:
            assert sockets.find("aws") == str(first)
            assert connections(preferred) == 1
            assert sockets.find("aws", lambda path: path == str(first)) == str(first)
            assert connections(preferred) == 0
        assert sockets.find("aws") == str(second)
        assert connections(server) == 0
    assert sockets.find("aws") == str(second)


def test_busy(directories: tuple[Path, Path]) -> None:
    """The provider in the first directory is too busy to accept a further connection → it is still the one."""
    first, second = (directory / "aws.sock" for directory in directories)
    sockets = ProviderSockets([str(directory) for directory in directories])
    with listening(first, backlog=0), listening(second), socket.socket(socket.AF_UNIX) as waiting:
        waiting.connect(str(first))
        assert sockets.find("aws") == str(first)
        assert sockets.problems("aws")[0] == f"{first} does not answer"


def test_problems(directories: tuple[Path, Path]) -> None:
    """Something other than a served socket is at a path → what it is; nothing → nothing is said."""
    directory = directories[0]
    sockets = ProviderSockets([str(each) for each in directories])
    (directory / "file.sock").write_text("")
    (directory / "link.sock").symlink_to("nowhere")
    (directory / "loop.sock").symlink_to("loop.sock")
    with listening(directory / "dead.sock"), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagrams:
        datagrams.bind(str(directory / "datagrams.sock"))
        assert sockets.problems("dead") == [f"{directory}/dead.sock does not answer"]
        (problem,) = sockets.problems("datagrams")
        assert problem.startswith(f"{directory}/datagrams.sock cannot be connected to: ")
    assert sockets.problems("absent") == []
    assert sockets.problems("dead") == [f"nobody listens on {directory}/dead.sock"]
    assert sockets.problems("file") == [f"{directory}/file.sock is not a socket"]
    assert sockets.problems("link") == [f"{directory}/link.sock is a symbolic link to nothing"]
    (problem,) = sockets.problems("loop")
    assert problem.startswith(f"{directory}/loop.sock cannot be read: ")
    assert [name for name in ("file", "link", "loop", "absent") if sockets.find(name)] == []


def test_no_permission(directories: tuple[Path, Path]) -> None:
    """The process may not look into the directory, or not connect → the reason."""
    first, second = directories
    sockets = ProviderSockets([str(first), str(second)])
    with listening(first / "aws.sock"), listening(second / "aws.sock"):
        (second / "aws.sock").chmod(0o600)
        for each in (first.parent, second):
            each.chmod(0o755)
        first.chmod(0o700)
        try:
            os.seteuid(65534)
        except OSError:
            pytest.skip("needs a second user")
        try:
            problems = sockets.problems("aws")
        finally:
            os.seteuid(0)
    assert problems == [
        f"{first}/aws.sock cannot be read: Permission denied",
        f"{second}/aws.sock cannot be connected to: Permission denied",
    ]


def test_installed(directories: tuple[Path, Path]) -> None:
    """Sockets, served or not, and other things in both directories → the names of the sockets, each once."""
    first, second = directories
    with listening(first / "aws.sock"), listening(second / "aws.sock"), listening(second / "gcp.sock"):
        pass
    (first / "file.sock").write_text("")
    (first / "link.sock").symlink_to("nowhere")
    (first / "vault.sock").symlink_to(second / "gcp.sock")
    assert ProviderSockets([str(first), str(second), "/nowhere"]).installed() == ["aws", "gcp", "vault"]


@pytest.mark.parametrize("name", ["", "../aws", "a" * 31, "aws.sock", "aws\n"])
def test_invalid_names(name: str) -> None:
    """A class names a provider that cannot exist → FAILED_PRECONDITION."""
    with pytest.raises(PreconditionFailed, match="invalid provider"):
        ProviderSockets(["/nowhere"]).find(name)
