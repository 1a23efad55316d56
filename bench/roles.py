"""The two small roles: /healthz of the probe and GetInfo of the registrar, side by side with those of others."""

import os
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from bench import usage
from bench.drivers import Driver, command_of
from bench.effort import Effort, settle
from bench.figures import Figures
from bench.processes import PYTHON, Child
from bench.publishing import milliseconds
from bench.rig import BenchRig
from tests.support.ports import free_port
from tests.support.waiting import wait_until

PROBE = (PYTHON, "-m", "probe.main")
REGISTRAR = (PYTHON, "-m", "registrar.main")


def measure(rig: BenchRig, driver: Driver, figures: Figures, effort: Effort, registrar: str, probe: str) -> None:
    """Measure both roles with ``driver``; ``registrar`` and ``probe`` are the commands of others, if given."""
    probes = {"ours": PROBE, **({"theirs": command_of(probe)} if probe else {})}
    registrars = {"ours": REGISTRAR, **({"theirs": command_of(registrar)} if registrar else {})}
    for _ in range(effort.rounds):
        for name, command in probes.items():
            with _probe(rig, driver, name, command) as (port, _):
                _healthz(rig, port, figures, name, effort)
        _lower_bounds(rig, driver, figures, effort)
    for _ in range(effort.rounds):
        for name, command in registrars.items():
            with _registrar(rig, driver, name, command) as (socket, _):
                result = rig.generator.do("getinfo", socket=socket, count=effort.singles * 2)
                figures["getinfo"].add(name, *milliseconds(rig.failed_calls.check(name, "GetInfo", result)))


def soak(rig: BenchRig, driver: Driver, figures: Figures, effort: Effort) -> None:
    """Many calls must not use up anything, because kubelet calls both roles forever."""
    with _probe(rig, driver, "ours", PROBE) as (port, pid):

        def get_healthz(count: int) -> None:
            job = {"host": "127.0.0.1", "port": port, "connections": 8}
            for keep in (True, False):
                rig.generator.do("http", count=count // 2, keep=keep, **job)

        _soak(pid, get_healthz, effort.soak, figures, "healthz")
    with _registrar(rig, driver, "ours", REGISTRAR) as (socket, pid):

        def get_info(count: int) -> None:
            rig.generator.do("getinfo", socket=socket, count=count)

        _soak(pid, get_info, effort.soak, figures, "getinfo")


def _soak(pid: int, call: Callable[[int], object], calls: int, figures: Figures, key: str) -> None:
    """Compare memory and descriptors after the last tenth of the calls with those after the second; the first is a
    warm-up.
    """
    usages = []
    for _ in range(10):
        call(calls // 10)
        settle(0.5)
        usages.append((usage.anonymous(pid), _descriptors(pid)))
    (memory, descriptors), (memory_after, descriptors_after) = usages[1], usages[-1]
    figures[f"soak_{key}_calls"].add("ours", calls)
    figures[f"soak_{key}_second"].add("ours", memory)
    figures[f"soak_{key}_last"].add("ours", memory_after)
    figures[f"soak_{key}_gained"].add("ours", memory_after - memory)
    figures[f"soak_{key}_fds"].add("ours", descriptors_after - descriptors)


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def _lower_bounds(rig: BenchRig, driver: Driver, figures: Figures, effort: Effort) -> None:
    for kind, keys in (("healthz", ("healthz_floor_new", "healthz_floor_kept")), ("http", (None, "healthz_http"))):
        port = free_port()
        command = [PYTHON, "-m", "bench.empty_servers", kind, driver.socket, str(port)]
        server = Child(command, rig.directory / "empty.log")
        try:
            wait_until(partial(_is_healthy, port), f"the empty server {kind}")
            for key, keep in zip(keys, (False, True), strict=True):
                result = rig.generator.do(
                    "http", host="127.0.0.1", port=port, count=effort.singles * 5, keep=keep, connections=1
                )
                if key is not None:
                    figures[key].add("floor", *milliseconds(result))
        finally:
            server.stop()


def _healthz(rig: BenchRig, port: int, figures: Figures, name: str, effort: Effort) -> None:
    def get(count: int, *, keep: bool, connections: int) -> dict[str, Any]:
        result = rig.generator.do("http", host="127.0.0.1", port=port, count=count, keep=keep, connections=connections)
        return rig.failed_calls.check(name, "/healthz", result)

    get(50, keep=True, connections=2)
    for key, keep in (("healthz_new", False), ("healthz_kept", True)):
        figures[key].add(name, *milliseconds(get(effort.singles * 5, keep=keep, connections=1)))
    result = get(effort.singles * 30, keep=True, connections=8)
    figures["healthz_8"].add(name, effort.singles * 30 / result["total"])


@contextmanager
def _probe(rig: BenchRig, driver: Driver, name: str, command: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    port = free_port()
    flags = [f"--csi-address={driver.socket}", f"--http-endpoint=127.0.0.1:{port}"]
    if command == PROBE:
        flags.append(f"--status-directory={driver.directory}/status")
    child = Child([*command, *flags], rig.directory / f"probe-{name}.log")
    try:
        wait_until(lambda: _is_healthy(port), f"{name}: /healthz 200")
        yield port, child.pid
    finally:
        child.stop()


@contextmanager
def _registrar(rig: BenchRig, driver: Driver, name: str, command: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    directory = rig.directory / f"registry-{name}"
    directory.mkdir(exist_ok=True)
    flags = [
        f"--csi-address={driver.socket}",
        f"--kubelet-registration-path={driver.socket}",
        f"--plugin-registration-path={directory}",
    ]
    if command == REGISTRAR:
        flags.append(f"--status-directory={driver.directory}/status")
    child = Child([*command, *flags], rig.directory / f"registrar-{name}.log")
    try:
        wait_until(lambda: list(directory.glob("*-reg.sock")), f"{name}: the registration socket")
        yield str(next(directory.glob("*-reg.sock"))), child.pid
    finally:
        child.stop()


def _is_healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=3):
            return True
    except OSError:
        return False
