"""The state of the providers, for the status socket."""

from collections.abc import Mapping
from typing import Any

from driver import limits
from driver.providers.absences import Absences
from driver.providers.client import ProviderClient
from driver.providers.sockets import ProviderSockets
from runtime import clock

CONNECTED, IDLE, AWAY, NOT_CALLED = "connected", "idle", "away", "not called"


def snapshot(
    clients: Mapping[str, ProviderClient], sockets: ProviderSockets, absences: Absences
) -> list[Mapping[str, Any]]:
    """The providers that were called, and those that are installed, by name.

    ``state`` is CONNECTED, IDLE (a process listens; there is no connection at the moment, as nobody needs one), AWAY,
    or NOT_CALLED since the driver's start. If it is AWAY, ``reason`` says why, and ``away_since`` (Unix time; None if
    no publish needed the provider since) for how long. ``waiting`` is the number of publishes that wait for its
    connection.
    """
    called = [_called(name, client, sockets, absences) for name, client in clients.items()]
    others = [name for name in sockets.installed() if name not in clients and sockets.is_name(name)]
    installed = [_installed(name, sockets) for name in others[: max(0, limits.MAX_PROVIDERS - len(called))]]
    return sorted([*called, *installed], key=lambda item: str(item["name"]))


def _called(name: str, client: ProviderClient, sockets: ProviderSockets, absences: Absences) -> Mapping[str, Any]:
    if client.connected:
        absences.connected(name)
    absence = absences.get(name)
    if absence is not None:
        state, reason = AWAY, absence.reason
    elif client.connected:
        state, reason = CONNECTED, ""
    elif sockets.is_served(name):
        state, reason = IDLE, ""
    else:
        state, reason = AWAY, sockets.why_away(name)
    return {
        "name": name,
        "state": state,
        "reason": reason,
        "away_since": None if absence is None else clock.wall_time(absence.since),
        "waiting": absences.waiting_for(name),
        "socket": client.socket,
        "unused_sockets": ", ".join(sockets.others(name, client.socket)),
        "version": client.version,
        "last_error": client.last_error,
    }


def _installed(name: str, sockets: ProviderSockets) -> Mapping[str, Any]:
    """Of a provider that no class has needed yet."""
    served = sockets.is_served(name)
    return {
        "name": name,
        "state": NOT_CALLED if served else AWAY,
        "reason": "" if served else sockets.why_away(name),
        "away_since": None,
        "waiting": 0,
        "socket": sockets.find(name) or "",
        "unused_sockets": "",
        "version": "",
        "last_error": "",
    }
