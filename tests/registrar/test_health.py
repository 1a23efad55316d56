"""The registrar's /healthz: what it says about the registration socket."""

import asyncio
import os
import socket
from pathlib import Path

from registrar import health
from registrar.reconciler import Reconciler
from registrar.service import RegistrationService
from registrar.state import State
from runtime import http, rpc
from runtime.endpoints import UnixEndpoint
from runtime.flags import Duration
from tests.registrar.rig import RegistrarRig, running_registrar, until_socket
from tests.support.fake_driver import NAME, fake_driver
from tests.support.other_program import other_program
from tests.support.waiting import until

REQUEST = http.Request("GET", "/healthz", "")


async def healthz(rig: RegistrarRig, reconciler: Reconciler, timeout: float = 5.0) -> tuple[int, str]:
    """The page's status code and body."""
    answer = await health.healthz_handler(rig.config(timeout=Duration(timeout)), reconciler)(REQUEST)
    return answer.status, answer.body.decode()


def reconciler_in(rig: RegistrarRig, state: State, error: str = "") -> Reconciler:
    """A registrar that is in this state and serves nothing itself."""
    reconciler = Reconciler(rig.config())
    reconciler.registration.enter(state, driver="" if state is State.NO_DRIVER else NAME, error=error)
    return reconciler


def test_no_socket(tmp_path: Path) -> None:
    """There is no registration socket, in whatever state → 404 with node-driver-registrar's text."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        for state in (State.NO_DRIVER, State.WAITING, State.REGISTERED):
            assert await healthz(rig, reconciler_in(rig, state)) == (404, "registration socket does not exist")

    asyncio.run(run())


def test_another_program_at_the_path(tmp_path: Path) -> None:
    """Another gRPC server is at the path → 500 and that."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with other_program(rig.socket):
            code, text = await healthz(rig, reconciler_in(rig, State.REGISTERED))
        assert (code, text) == (500, f"GetInfo failed: {rpc.UNREADABLE}")

    asyncio.run(run())


def test_something_else_at_the_path(tmp_path: Path) -> None:
    """A file, a dead socket or a server that does not answer is at the path → 500 and which of them."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        reconciler = reconciler_in(rig, State.REGISTERED)
        rig.socket.write_text("x")
        assert await healthz(rig, reconciler) == (500, f"{rig.socket} is not a socket")
        rig.socket.unlink()
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(rig.socket))
            code, text = await healthz(rig, reconciler)
            assert code == 500 and text.startswith("GetInfo failed: UNAVAILABLE")
            dead.listen()  # accepts, but does not answer
            code, text = await healthz(rig, reconciler, timeout=0.3)
            assert code == 500 and text.startswith("GetInfo failed: DEADLINE_EXCEEDED")

    asyncio.run(run())


def test_another_name(tmp_path: Path) -> None:
    """Another driver's registrar serves our path → 500."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)

        service = RegistrationService("other.example", "/x", lambda *_: None)
        async with rpc.serve(UnixEndpoint(str(rig.socket)), service.register):
            assert await healthz(rig, reconciler_in(rig, State.REGISTERED)) == (
                500,
                f"{rig.socket} answers for another driver",
            )

    asyncio.run(run())


def test_states(tmp_path: Path) -> None:
    """Not yet confirmed → 200, so that kubelet does not kill the container; registered → 200 ok; refused → 500 with
    kubelet's text. The driver's own health does not matter here."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with running_registrar(rig.config(driver_gone_after=Duration(20.0))) as reconciler:
            async with fake_driver(rig.csi):
                await until_socket(rig.socket)
                assert await healthz(rig, reconciler) == (200, "ok (waiting for kubelet)")
                reconciler.registration.enter(State.REGISTERED)
                assert await healthz(rig, reconciler) == (200, "ok")
            assert await healthz(rig, reconciler) == (200, "ok")
            reconciler.registration.enter(State.REFUSED, error="not today")
            assert await healthz(rig, reconciler) == (500, "kubelet refused the registration: not today")

    asyncio.run(run())


def test_descriptors(tmp_path: Path) -> None:
    """Each check opens a connection of its own; two hundred checks leak no descriptor."""

    async def run() -> None:
        rig = RegistrarRig(tmp_path)
        async with fake_driver(rig.csi), running_registrar(rig.config()) as reconciler:
            await until_socket(rig.socket)
            for _ in range(20):
                await healthz(rig, reconciler)
            before = len(os.listdir("/proc/self/fd"))
            for _ in range(200):
                assert (await healthz(rig, reconciler))[0] == 200
            # gRPC closes the last ones when it has time for that.
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before + 2, "the end of the connections")

    asyncio.run(run())
