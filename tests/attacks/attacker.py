"""Attacks that last, each as a process of its own: ``python -m tests.attacks.attacker NAME DIRECTORY PORT…``.

In the test's process an attack would slow down who measures, not only who is attacked. The process prints a line after
each round, and ends after SECONDS if the test has not ended it.
"""

import os
import random
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc

from protos import provider_pb2
from tests.attacks.calls import publish, unpublish
from tests.attacks.hostile_provider import Reply, hostile_provider, reply_with
from tests.attacks.test_costly_values import HEADERS, ROUNDS
from tests.driver.sync.parser.test_client import huge_rsa_key

SECONDS = 120.0
# What the attacker itself computes is not what is measured, so it gets less of a processor than the container.
NICENESS = 10
PARALLEL = 8
ABSENT = 100
MANY = 120
NAMESPACE = "attacker"
SECRETS = {"password": "publish-canary/Zb81+x", "other": "x" * 5000}
CONTEXT = {"clientSecret": "attribute-canary-Pw55"}


def _names(count: int) -> list[str]:
    return [f"{number:06}" for number in range(count)]


def _always(message: provider_pb2.MountResponse) -> Reply:
    return lambda _: message


def _file(contents: bytes) -> Callable[[], Reply]:
    return lambda: _always(reply_with({"f": contents}))


def _echo(context: grpc.ServicerContext) -> provider_pb2.MountResponse:
    context.abort(grpc.StatusCode.PERMISSION_DENIED, " ".join([*SECRETS.values(), *CONTEXT.values()] * 100))
    raise AssertionError("abort() returned")


def _code(_: grpc.ServicerContext) -> provider_pb2.MountResponse:
    return provider_pb2.MountResponse(error=provider_pb2.Error(code=f"Code{random.random()}"))


LARGE: dict[str, Callable[[], Reply]] = {
    "files": lambda: _always(reply_with(dict.fromkeys(_names(4096), b""))),
    "full-files": lambda: _always(reply_with(dict.fromkeys(_names(4000), b"x" * 900))),
    "versions": lambda: _always(reply_with({"f": b""}, dict.fromkeys(_names(4096), "v" * 100))),
    "bytes": _file(os.urandom(1024) * 4095),
    "deep": lambda: _always(reply_with({f"{name}/" + "a/" * 30 + "x": b"" for name in _names(128)})),
    "too-many": lambda: _always(reply_with(dict.fromkeys(_names(300_000), b""))),
    "too-long": lambda: _always(reply_with({"f": b""}, dict.fromkeys(_names(4096), "v" * 900))),
}
COSTLY: dict[str, Callable[[], Reply]] = {
    "rounds": _file(ROUNDS),
    "rsa": _file(huge_rsa_key(400_000)),
    "headers": _file(HEADERS),
}
ECHO: dict[str, Callable[[], Reply]] = {"echo": lambda: _echo}
CODES: dict[str, Callable[[], Reply]] = {"code": lambda: _code}
REPLIES = {**LARGE, **COSTLY, **ECHO, **CODES}


def large_replies(directory: Path, _: Sequence[int]) -> None:
    """Volumes come and go whose provider replies as much as it can."""
    _publish_for_ever(directory, list(LARGE), list(LARGE))


def costly_values(directory: Path, _: Sequence[int]) -> None:
    """Volumes come and go whose content is costly to parse for the Secret that their class wants."""
    _publish_for_ever(directory, list(COSTLY), list(COSTLY))


def echoes(directory: Path, _: Sequence[int]) -> None:
    """Publishes fail, with all that was sent in the error, many times."""
    _publish_for_ever(directory, list(ECHO), list(ECHO))


def labels(directory: Path, _: Sequence[int]) -> None:
    """Publishes fail, each with another error code or with a provider of another name."""
    absent = (f"absent-{number}" for number in range(ABSENT))
    _publish_for_ever(directory, list(CODES), [name for each in absent for name in (each, "code")])


def connections(_: Path, ports: Sequence[int]) -> None:
    """Idle connections to each port, more than it keeps, and requests whose replies nobody reads."""
    request = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200
    while True:
        with ExitStack() as opened:
            for port in ports:
                for number in range(400):
                    client = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
                    client.setblocking(False)
                    if number % 10 == 0:
                        _send(client, request)
            _round()
            time.sleep(0.2)


def memory(directory: Path, _: Sequence[int]) -> None:
    """A hundred pods at once ask for the largest volumes, and keep them."""

    def work(number: int) -> None:
        publish(directory, f"attacker-{number}", "bytes", SECRETS, CONTEXT, 30, NAMESPACE)
        _round()

    made = {"bytes": REPLIES["bytes"]()}
    with hostile_provider(directory / "providers", made, threads=32), ThreadPoolExecutor(MANY) as pool:
        for number in range(MANY):
            pool.submit(work, number)
        threading.Event().wait()


def computing(_: Path, __: Sequence[int]) -> None:
    """No attack on the container: what a neighbour that only computes costs everybody on a small machine."""
    while True:
        sum(range(100_000))
        _round()


def _round() -> None:
    os.write(1, b"round\n")  # in one piece: other threads write, too


def _send(client: socket.socket, request: bytes) -> None:
    try:
        while client.send(request):
            pass
    except OSError:  # nobody reads any more, or the connection was closed
        pass


def _publish_for_ever(directory: Path, replies: Sequence[str], classes: Sequence[str]) -> None:
    def work(worker: int) -> None:
        number = worker
        while True:
            pod = f"attacker-{worker}-{number}"
            publish(directory, pod, classes[number % len(classes)], SECRETS, CONTEXT, 30, NAMESPACE)
            unpublish(directory, pod, seconds=30)
            number += 1
            _round()

    made = {name: REPLIES[name]() for name in replies}
    with hostile_provider(directory / "providers", made), ThreadPoolExecutor(PARALLEL) as pool:
        for worker in range(PARALLEL):
            pool.submit(work, worker)
        threading.Event().wait()


ATTACKS = {
    attack.__name__: attack for attack in (large_replies, costly_values, echoes, labels, connections, memory, computing)
}


def main() -> None:
    """Attack until the time is over."""
    name, directory, *ports = sys.argv[1:]
    os.nice(NICENESS)
    end = threading.Timer(SECONDS, os._exit, [0])
    end.daemon = True
    end.start()
    ATTACKS[name](Path(directory), [int(port) for port in ports])


if __name__ == "__main__":
    main()
