"""Keeps the driver registered: the handshake, and what heals it.

 1. Wait for the driver to tell its name; nothing is served before.
 2. Serve Registration on ``<name>-reg.sock``; kubelet's watcher finds it, asks GetInfo, and tells its verdict.
 3. Refused: make the socket anew after a pause that doubles, so that kubelet tries again.
 4. The socket is gone (deleted by hand, kubelet's directory wiped): make it anew. Another's live socket at its path
    (the second pod of a surge roll-out): the one that started last wins. The other leaves it there, and makes its own
    anew only when that is gone or nobody answers on it.
 5. The driver has a new socket: ask for its name; a new name begins at 1.
 6. The driver is gone for longer than ``driver_gone_after``: remove the socket, so that kubelet does not believe in
    a dead driver, and begin at 1. A quick restart is not noticed by kubelet.
A kubelet that restarts needs nothing: it walks the directory. A hostPath directory that was deleted on the node is a
dead inode in here; only a restart of the container mends that, so then this process ends.
"""

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path

from protos import pluginregistration_pb2_grpc
from registrar.config import RegistrarConfig
from registrar.directories import Directories
from registrar.driver import Driver
from registrar.service import RegistrationService
from registrar.state import Registration, State
from runtime import logs, redact, rpc
from runtime.endpoints import UnixEndpoint
from runtime.errors import ConfigurationError, Failure
from runtime.sockets import BoundSocket

log = logs.get(__name__)

# Behind inotify, for what it misses.
POLL_SECONDS = 5.0
FIRST_PAUSE, LAST_PAUSE = 0.2, 30.0


def pause_after(refusals: int) -> float:
    """Seconds until the next offer, after so many refusals in a row; they may go on for months."""
    return min(FIRST_PAUSE * 2.0 ** min(refusals, 10), LAST_PAUSE)


class Trouble(Enum):
    """Why a socket that was served is no longer."""

    REFUSED = "kubelet refused the registration"
    SOCKET = "the socket is not ours any more"
    DRIVER = "the driver is gone, or another one"


class Reconciler:
    """One registrar at work; ``registration`` is what it knows."""

    def __init__(self, config: RegistrarConfig) -> None:
        self.registration = Registration()
        self._config = config
        self._driver = Driver(config.driver.path, config.timeout)
        self._directories = Directories(os.path.dirname(config.driver.path), config.plugin_registration_path)
        self._refusals = 0
        self._refused = self._has_served = False

    @property
    def socket(self) -> Path | None:
        """Where the registration socket belongs; None before the driver's name is known."""
        name = self.registration.driver
        return Path(self._config.plugin_registration_path) / f"{name}-reg.sock" if name else None

    async def run(self) -> None:
        """Keep the driver registered until cancelled."""
        try:
            async with self._directories.watched():
                while True:
                    name = await self._wait_for_driver()
                    await self._serve(name)
        finally:
            await self._driver.close()

    async def _wait_for_driver(self) -> str:
        """Step 1."""
        pause = FIRST_PAUSE
        while True:
            try:
                return await self._driver.name()
            except Failure as failure:
                if self.registration.become(State.NO_DRIVER, driver="", error=str(failure)):
                    log.warning("Waiting for the driver", reason=failure)
            self._directories.refuse_dead()
            await self._directories.changed(pause)
            pause = min(pause * 2, POLL_SECONDS)

    async def _serve(self, name: str) -> None:
        """Steps 2 to 4; returns when step 1 is next."""
        self.registration.become(State.WAITING, driver=name)
        while await self._may_serve(name):
            self._refused = False
            try:
                async with self._served(name) as bound:
                    if self._is_new() or not self._has_served:
                        log.info("Registration socket is served; waiting for kubelet", socket=bound.path, driver=name)
                    self._has_served = True
                    trouble = await self._until_something_is_wrong(name, bound)
            except (ConfigurationError, OSError) as error:
                self._directories.refuse_dead()
                if self.registration.become(State.WAITING, error=f"cannot serve {self.socket}: {redact.text(error)}"):
                    log.error("Cannot serve the registration socket; trying again", exc=error)
                await self._directories.changed(POLL_SECONDS)
                if not await self._is_still(name):
                    return
                continue
            if trouble is Trouble.DRIVER:
                return
            if trouble is Trouble.REFUSED:
                self._refusals += 1
                await asyncio.sleep(pause_after(self._refusals))
            elif not await self._is_taken_over():
                log.info("The registration socket was removed; making it anew", socket=self.socket)

    def _is_new(self) -> bool:
        """Kubelet is waited for from here on, unless it is known that it refused the last socket."""
        return self.registration.state is not State.REFUSED and self.registration.become(State.WAITING)

    async def _may_serve(self, name: str) -> bool:
        """Wait while another one serves, unless it was there before us; False when the driver is not as before."""
        while self._has_served and await self._is_taken_over():
            if self.registration.become(State.WAITING, error=f"another registrar serves {self.socket}"):
                log.warning("Another registrar has taken over; standing by", socket=self.socket)
            await self._directories.changed(POLL_SECONDS)
            if not await self._is_still(name):
                return False
        return True

    @contextlib.asynccontextmanager
    async def _served(self, name: str) -> AsyncIterator[BoundSocket]:
        directory = self._config.plugin_registration_path
        if os.path.isdir(directory) and not os.access(directory, os.W_OK | os.X_OK):  # noqa: ASYNC240
            raise ConfigurationError(f"{directory} is not writable: mount it read-write, for the user of this process")
        service = RegistrationService(name, self._config.kubelet_registration_path, self._on_status)
        endpoint = UnixEndpoint(str(self.socket))
        async with rpc.serve(
            endpoint, lambda server: pluginregistration_pb2_grpc.add_RegistrationServicer_to_server(service, server)
        ) as bound:
            assert bound is not None  # a Unix endpoint has one
            yield bound

    async def _until_something_is_wrong(self, name: str, bound: BoundSocket) -> Trouble:
        gone_since: float | None = None
        while True:
            self._directories.refuse_dead()
            if self._refused:
                return Trouble.REFUSED
            if not bound.is_ours():
                return Trouble.SOCKET
            try:
                if await self._driver.name() != name:
                    log.warning("The driver has changed its name; registering it anew", before=name)
                    return Trouble.DRIVER
                gone_since = None
            except Failure as failure:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > self._config.driver_gone_after:
                    self.registration.become(State.NO_DRIVER, driver="", error=str(failure))
                    log.warning("The driver is gone; telling kubelet by removing the socket", reason=failure)
                    return Trouble.DRIVER
            await self._directories.changed(POLL_SECONDS if gone_since is None else 0.5)

    async def _is_still(self, name: str) -> bool:
        try:
            return await self._driver.name() == name
        except Failure:
            return False

    async def _is_taken_over(self) -> bool:
        """Whether somebody answers on a socket at our path; a dead one's is only a file."""
        try:
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_unix_connection(str(self.socket))
        except TimeoutError:
            return True  # frozen, or busy
        except OSError:
            return False
        writer.close()
        return True

    def _on_status(self, registered: bool, error: str) -> None:
        if registered:
            self._refusals = 0
            if self.registration.become(State.REGISTERED):
                log.info("Kubelet has registered the driver", driver=self.registration.driver)
        else:
            self._refused = True
            text = redact.text(error) or "kubelet gave no reason"
            if self.registration.become(State.REFUSED, error=text):
                log.error("Kubelet refused the registration; it is offered again", reason=text)
        self._directories.note_change()
