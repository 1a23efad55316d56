"""Registers the driver with kubelet and keeps it registered, whatever happens to the two of them.

kubelet discovers plugins by their sockets in its ``plugins_registry`` directory
(https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/pluginmanager/pluginwatcher/README.md).

 1. Wait until the driver reports its name. Nothing is served before that.
 2. Serve the Registration service on ``<name>-reg.sock``. kubelet's plugin watcher finds the socket, calls GetInfo, and
    reports the result by NotifyRegistrationStatus.
 3. kubelet refused the registration: recreate the socket after a delay that doubles each time; kubelet then tries
    again.
 4. The socket is gone (deleted by hand, or kubelet's directory was emptied): recreate it. If another registrar has put
    a live socket in its place (the second pod of a surge roll-out), the one that started last wins: leave that socket
    alone, and recreate ours only when it is gone or nobody answers on it.
 5. The driver reports another name: remove the socket and go to step 1.
 6. The driver has been gone for longer than ``driver_gone_after``: remove the socket, so that kubelet stops using the
    driver, and go to step 1. kubelet does not notice a shorter absence.

A restart of kubelet needs no action, because it lists the directory. A hostPath directory that was deleted on the node
stays deleted in the container; then this process ends, because only a restart of the container helps.
"""

import asyncio
import os
import time
from enum import Enum, auto
from pathlib import Path

from registrar import registration_socket
from registrar.config import RegistrarConfig
from registrar.driver import Driver
from registrar.service import RegistrationService
from registrar.state import Registration, State
from runtime import logs, redact
from runtime.directories import Directories
from runtime.errors import ConfigurationError, Failure
from runtime.sockets import BoundSocket

log = logs.get(__name__)

# How often everything is checked, in case inotify misses a change; and while the driver is gone.
POLL_SECONDS, DRIVER_GONE_POLL_SECONDS = 5.0, 0.5
# How old an answer of the driver may be while the connection stands; less if the driver may be gone for less.
ANSWER_SECONDS = 30.0
FIRST_DELAY, MAX_DELAY = 0.2, 30.0


def retry_delay(refusals: int) -> float:
    """Seconds until the socket is recreated, after so many refusals in a row; they may go on for months."""
    return min(FIRST_DELAY * 2.0 ** min(refusals, 10), MAX_DELAY)


class StopReason(Enum):
    """Why a registration socket is no longer served."""

    REFUSED = auto()
    """kubelet refused the registration."""
    SOCKET_LOST = auto()
    """The socket was removed or replaced."""
    DRIVER_CHANGED = auto()
    """The driver is gone, or has another name."""


class Reconciler:
    """Runs the steps above; ``registration`` is the result so far."""

    def __init__(self, config: RegistrarConfig) -> None:
        self.registration = Registration()
        self._config = config
        self._driver = Driver(config.driver.path, config.timeout)
        self._directories = Directories(os.path.dirname(config.driver.path), config.plugin_registration_path)
        self._refusals = 0
        self._refused = self._has_served = False

    @property
    def socket(self) -> Path | None:
        """The path of the registration socket; None before the driver's name is known."""
        name = self.registration.driver
        return registration_socket.socket_path(self._config.plugin_registration_path, name) if name else None

    async def run(self) -> None:
        """Keep the driver registered until cancelled. Raises ConfigurationError if only a restart of the container
        helps."""
        try:
            async with self._directories.watched():
                while True:
                    name = await self._wait_for_driver()
                    await self._keep_registered(name)
        finally:
            self._driver.close()

    async def _wait_for_driver(self) -> str:
        """Step 1."""
        delay = FIRST_DELAY
        while True:
            try:
                return await self._driver.get_name()
            except Failure as failure:
                if self.registration.enter(State.NO_DRIVER, driver="", error=str(failure)):
                    log.warning("Waiting for the driver", reason=failure)
            self._directories.raise_if_deleted()
            await self._directories.wait_for_change(delay)
            delay = min(delay * 2, POLL_SECONDS)

    async def _keep_registered(self, name: str) -> None:
        """Steps 2 to 4; returns when step 1 is next."""
        path = registration_socket.socket_path(self._config.plugin_registration_path, name)
        self.registration.enter(State.WAITING, driver=name)
        while await self._stand_by(name, path):
            self._refused = False
            try:
                reason = await self._serve(name, path)
            except (ConfigurationError, OSError) as error:
                self._directories.raise_if_deleted()
                if self.registration.enter(State.WAITING, error=f"cannot serve {path}: {redact.text(error)}"):
                    log.error("Cannot serve the registration socket; trying again", exc=error)
                await self._directories.wait_for_change(POLL_SECONDS)
                if not await self._is_still(name):
                    return
                continue
            if reason is StopReason.DRIVER_CHANGED:
                return
            if reason is StopReason.REFUSED:
                self._refusals += 1
                await asyncio.sleep(retry_delay(self._refusals))
            elif not registration_socket.is_live(path):
                log.info("The registration socket was removed; recreating it", socket=path)

    async def _stand_by(self, name: str, path: Path) -> bool:
        """Wait while another registrar serves the socket, unless this one has not had its turn yet. False if the driver
        is gone or has another name."""
        while self._has_served and registration_socket.is_live(path):
            if self.registration.enter(State.WAITING, error=f"another registrar serves {path}"):
                log.warning("Another registrar has taken over; standing by", socket=path)
            await self._directories.wait_for_change(POLL_SECONDS)
            if not await self._is_still(name):
                return False
        return True

    async def _serve(self, name: str, path: Path) -> StopReason:
        """Step 2, until something is wrong."""
        service = RegistrationService(name, self._config.kubelet_registration_path, self._on_status)
        async with registration_socket.serve(path, service) as bound:
            # After a refusal the state stays REFUSED, with kubelet's text, until kubelet has decided again.
            is_new = self.registration.state is not State.REFUSED and self.registration.enter(State.WAITING)
            if is_new or not self._has_served:
                log.info("Serving the registration socket; waiting for kubelet", socket=path, driver=name)
            self._has_served = True
            return await self._monitor(name, bound)

    async def _monitor(self, name: str, bound: BoundSocket) -> StopReason:
        """Wait until the socket must not be served any longer."""
        gone_since: float | None = None
        oldest = min(ANSWER_SECONDS, self._config.driver_gone_after)
        while True:
            self._directories.raise_if_deleted()
            if self._refused:
                return StopReason.REFUSED
            if not bound.is_ours():
                return StopReason.SOCKET_LOST
            try:
                if not self._driver.answered_within(oldest) and await self._driver.get_name() != name:
                    log.warning("The driver has changed its name; registering it again", old_name=name)
                    return StopReason.DRIVER_CHANGED
                gone_since = None
            except Failure as failure:
                gone_since = gone_since or time.monotonic()
                if time.monotonic() - gone_since > self._config.driver_gone_after:
                    self.registration.enter(State.NO_DRIVER, driver="", error=str(failure))
                    log.warning(
                        "The driver is gone; removing the registration socket so that kubelet stops using it",
                        reason=failure,
                    )
                    return StopReason.DRIVER_CHANGED
            await self._directories.wait_for_change(POLL_SECONDS if gone_since is None else DRIVER_GONE_POLL_SECONDS)

    async def _is_still(self, name: str) -> bool:
        """Whether the driver answers, under the same name."""
        try:
            return await self._driver.get_name() == name
        except Failure:
            return False

    def _on_status(self, registered: bool, error: str) -> None:
        """kubelet has reported the result of the registration."""
        if registered:
            self._refusals = 0
            if self.registration.enter(State.REGISTERED):
                log.info("Kubelet has registered the driver", driver=self.registration.driver)
        else:
            self._refused = True
            text = redact.text(error) or "kubelet gave no reason"
            if self.registration.enter(State.REFUSED, error=text):
                log.error("Kubelet refused the registration; offering it again", reason=text)
        self._directories.notify()
