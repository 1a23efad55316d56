"""The API server of a storm: what it must offer, and the fake one as a process."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tests.cluster import kubeconfig
from tests.faults.storm.output import Output
from tests.faults.storm.services import Admin, Object, Service
from tests.support.ports import free_port


class ApiServer(Protocol):
    """The API server of a world: to use, to strike, and to end."""

    admin: Admin
    kubeconfig: Path
    starts: int

    async def keep(self) -> None:
        """Keep it running until cancelled."""

    def signal(self, number: signal.Signals) -> int | None:
        """Signal it; returns its pid, None if it does not run."""

    def order(self, order: Object) -> bool:
        """Have it answer wrongly: the step of a fault of the group ``api``."""

    def kill(self) -> None:
        """At the end of the storm."""


class FakeServer(Service):
    """The fake one, with its journal and its kubeconfig in ``vault``; it counts its strikes in the file ``counts``."""

    def __init__(self, vault: Path, counts: Path, complain: Callable[[str], None]) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        self.admin = Admin(url)
        self.kubeconfig = kubeconfig.write(vault / "kubeconfig", url, b"", "token")
        arguments = [str(port), str(vault / "journal"), str(counts)]
        # It stores Secrets, and prints nothing.
        super().__init__("tests.faults.storm.api_process", arguments, Output("the API server", [], complain))
