"""The node's state as the page shows it, from what the roles have reported: the tables' rows, and one line above all.

What a role does not report is unknown, and never counts as none. Then its last known state is shown, marked as such.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from probe.page import providers, roles, secrets, volumes
from probe.page.table import Level, Row
from probe.page.units import count, duration, number

Status = Mapping[str, Any]
REGISTERED = "registered"


class Known(NamedTuple):
    """A role's status: ``at`` is None if it is the present one, else the Unix time at which it was. ``status`` is None
    if the role has never answered."""

    status: Status | None
    at: float | None = None

    @property
    def is_present(self) -> bool:
        """Whether it is how things are now."""
        return self.status is not None and self.at is None


class Node(NamedTuple):
    """Everything on the page. Each list has its rows in the order of the reports."""

    now: float
    state: Status
    driver: Known
    registrar: Known
    pending: Sequence[Row]
    mounted: Sequence[Row]
    providers: Sequence[Row]
    secrets: Sequence[Row]
    roles: Sequence[Row]

    @property
    def volumes(self) -> Sequence[Row]:
        """Those that pods wait for, and those that they have."""
        return [*self.pending, *self.mounted]

    @property
    def supervised(self) -> bool:
        """Whether the roles are those of one container: then each must answer."""
        return bool(self.state.get("supervised"))

    @property
    def reasons(self) -> Sequence[str]:
        """Why the node is not ready."""
        return [str(reason) for reason in self.state["not_ready"]]

    @property
    def level(self) -> Level:
        """The worst of everything; a row of which something is not known yet, such as a pod that starts, is no
        reason to doubt the node."""
        every = [*self.volumes, *self.providers, *self.secrets, *self.roles]
        rows = [row.level for row in every if row.level is not Level.UNKNOWN]
        own = Level.BAD if self.reasons else Level.GOOD if self.driver.is_present else Level.UNKNOWN
        swaps = Level.WARN if (self.driver.status or {}).get("noswap") is False else Level.GOOD
        return max([own, swaps, *rows])

    @property
    def verdict(self) -> str:
        """The level in words: a node is not called ready above a red row."""
        if self.level is Level.BAD:
            return "Not ready" if self.reasons else "Failing"
        return {Level.GOOD: "Ready", Level.WARN: "Ready, with warnings", Level.UNKNOWN: "Unknown"}[self.level]

    @property
    def summary(self) -> str:
        """The state in one line, such as ``12 volumes, 1 failing, 2 providers, registered``."""
        if self.driver.is_present:
            return ", ".join([*self._counts(), self._registration()])
        silent = "the driver does not answer" if self.supervised else "the driver does not report its state"
        if self.driver.at is None:
            return ", ".join([silent, self._registration()])
        age = duration(self.now - self.driver.at)
        return f"{silent}; {age} ago: {', '.join(self._counts())}; {self._registration()}"

    def _counts(self) -> list[str]:
        failing, away = _bad(self.volumes), _bad(self.providers)
        starting = len(self.pending) - _bad(self.pending)
        parts = [
            count(len(self.volumes), "volume"),
            f"{failing} failing" if failing else "",
            f"{starting} starting" if starting else "",
            count(len(self.providers), "provider"),
            f"{away} away" if away else "",
        ]
        unsynced = _bad(self.secrets)
        if unsynced:
            parts.append(f"{count(unsynced, 'Secret')} not synced")
        return [part for part in parts if part]

    def _registration(self) -> str:
        status = self.registrar.status
        if not self.registrar.is_present or status is None:
            return "registration unknown"
        return REGISTERED if status.get("state") == REGISTERED else "not registered"


def read(state: Status, now: float) -> Node:
    """The node from the state that ``Handlers`` collects."""
    driver, registrar = known(state, "driver"), known(state, "registrar")
    status = driver.status or {}
    pending, mounted = _items(status, "pending"), _items(status, "volumes")
    known_providers = _items(status, "providers")
    return Node(
        now,
        state,
        driver,
        registrar,
        pending=volumes.pending_rows(pending, known_providers, now),
        mounted=volumes.rows(mounted, status, driver.at or now, now),
        providers=providers.rows(known_providers, [*mounted, *pending], status, now),
        secrets=secrets.rows(_items(status, "secrets"), now),
        roles=roles.rows(_items(state, "processes"), now),
    )


def known(state: Status, role: str) -> Known:
    """What is known of a role."""
    if state.get(role) is not None:
        return Known(state[role])
    last = (state.get("last_known") or {}).get(role)
    return Known(last["status"], number(last["at"])) if last else Known(None)


def _items(status: Status, name: str) -> list[Status]:
    """A list in a status; an earlier driver's has not all of them."""
    found = status.get(name)
    return [item for item in found if isinstance(item, Mapping)] if isinstance(found, list) else []


def _bad(rows: Sequence[Row]) -> int:
    return sum(row.level is Level.BAD for row in rows)
