"""The fake API server as a process that can be killed and stopped; its arguments are PORT JOURNAL COUNTS.

Its objects are in the journal, as etcd keeps them, and outlive it. Each line of its input is an order."""

import json
import pickle
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from aiohttp import web

from tests.faults.storm.kinds import KINDS
from tests.faults.storm.shared import Shared
from tests.support.fake_api import Answer, Delay, Drop, FakeApi, Fault, HalfAnswer, Page, Silence, WatchError
from tests.support.fake_api.calls import Call
from tests.support.fake_api.errors import Object
from tests.support.fake_api.faults import Exchange
from tests.support.fake_api.loopback import LoopbackServer
from tests.support.fake_api.paths import Target
from tests.support.fake_api.store import Store

ADMIN = "storm"
"""The User-Agent of the storm's own calls, which no fault strikes."""
MATCHES = ("", "secretproviderclasses", "secretproviderclasspodstatuses", "/secrets", "/events")
MOST_STRIKES = 12
MAX_CALLS_KEPT = 10_000


class JournaledStore(Store):
    """A store that writes each change down before it answers, and begins with what was written."""

    def __init__(self, journal: Path) -> None:
        super().__init__()
        self._journal: BinaryIO | None = None
        if journal.exists():
            self._read(journal)
        self._journal = journal.open("ab", buffering=0)

    def _read(self, journal: Path) -> None:
        with journal.open("rb") as file:
            while True:
                good = file.tell()
                try:
                    self.replay(pickle.load(file))
                except Exception:  # pickle raises errors of many types for data that are cut off
                    break  # the end, or a change during which the process was killed
        with journal.open("r+b") as file:
            file.truncate(good)

    def _commit(self, kind: str, target: Target, item: Object, former: Object | None) -> Object:
        written = super()._commit(kind, target, item, former)
        if self._journal is not None:
            self._journal.write(pickle.dumps(self._history[-1]))
        return written


@dataclass(frozen=True)
class Counted:
    """A fault that counts its strikes."""

    fault: Fault
    kind: str
    counts: Shared

    async def strike(self, exchange: Exchange) -> web.StreamResponse:
        """Implements ``Fault``."""
        self.counts.add(self.kind)
        return await self.fault.strike(exchange)


def fault(detail: str, choice: float) -> Fault:
    """The fault of a kind; ``choice`` is a random number in [0, 1)."""
    match detail:
        case "429":
            return Answer(429, retry_after=int(choice * 3))
        case "reset":
            return Drop()
        case "reset-after":
            return Drop(done=True)
        case "half":
            return HalfAnswer()
        case "slow":
            return Delay(choice * 6)
        case "silent":
            return Silence()
        case "page":
            return Page()
        case "watch-error":
            return WatchError()
    return Answer(int(detail))


def strike_calls(server: LoopbackServer, counts: Shared, order: Object) -> None:
    """Carry out the step of a fault of the group ``api`` on a server, or on a proxy before one."""
    kind, detail, choice = order["kind"], order["detail"], order["choice"]
    if detail == "disconnect":
        counts.add(kind)
        server.disconnect()
        return
    # The same number chooses the path and the parameters; that they go together does not matter.
    path = MATCHES[max(0, int(choice * 1000) % (2 * len(MATCHES)) - len(MATCHES))]
    method = "WATCH" if detail == "watch-error" else "*"
    times = 1 + int(choice * 100) % MOST_STRIKES
    struck = Counted(fault(detail, choice), kind, counts)
    rule = server.on(method, re.escape(path), struck, times, _not_ours)
    threading.Timer(order["seconds"], rule.lift).start()


def obey(api: FakeApi, counts: Shared, order: Object) -> None:
    """Carry out one order."""
    if order["detail"] == "compact":
        counts.add(order["kind"])
        api.store.compact()
        api.end_watches()
    else:
        strike_calls(api, counts, order)


def _not_ours(call: Call) -> bool:
    return call.user_agent != ADMIN


def main(argv: list[str]) -> int:
    """Serve until the input ends."""
    port, journal, counts = int(argv[0]), Path(argv[1]), Shared(Path(argv[2]), list(KINDS))
    with FakeApi(port=port, store=JournaledStore(journal)) as api:
        for line in sys.stdin:
            obey(api, counts, json.loads(line))
            if api.calls.mark() > MAX_CALLS_KEPT:
                api.calls.clear()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
