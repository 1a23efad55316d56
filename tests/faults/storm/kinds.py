"""The kinds of faults: what each is called, how often it strikes, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass

SHORT, LONG = (0.2, 1.5), (1.0, 4.0)


@dataclass(frozen=True)
class Kind:
    """``weight`` is how often it strikes in a round of all kinds, ``seconds`` the shortest and the longest duration.
    ``group`` says who strikes it, ``detail`` what exactly."""

    name: str
    group: str
    detail: str
    weight: int = 2
    seconds: tuple[float, float] = SHORT


_ALL = (
    # kill -9: whoever is struck is started again by the supervisor, by "kubelet", or as a pod of its own.
    Kind("kill-driver", "kill", "driver", 3),
    Kind("kill-registrar", "kill", "registrar"),
    Kind("kill-probe", "kill", "probe"),
    Kind("kill-container", "kill", "container", 1),
    Kind("kill-provider", "kill", "provider", 2),
    Kind("kill-api", "kill", "api", 2),
    Kind("end-container", "end", "container", 1),
    Kind("end-driver", "end", "driver", 1),
    Kind("end-provider", "end", "provider", 1),
    # SIGSTOP, and SIGCONT at the end.
    Kind("stop-driver", "stop", "driver", 1, LONG),
    Kind("stop-registrar", "stop", "registrar", 1, LONG),
    Kind("stop-probe", "stop", "probe", 1, LONG),
    Kind("stop-supervisor", "stop", "container", 1, LONG),
    Kind("stop-provider", "stop", "provider", 1, LONG),
    Kind("stop-api", "stop", "api", 1, LONG),
    # What the API server answers.
    Kind("api-401", "api", "401", 3),
    Kind("api-403", "api", "403", 3),
    Kind("api-404", "api", "404", 1),
    Kind("api-409", "api", "409", 2),
    Kind("api-410", "api", "410", 1),
    Kind("api-429", "api", "429", 3),
    Kind("api-500", "api", "500", 3),
    Kind("api-503", "api", "503", 2),
    Kind("api-reset", "api", "reset", 3),
    Kind("api-reset-after", "api", "reset-after", 3),
    Kind("api-half", "api", "half", 3),
    Kind("api-slow", "api", "slow", 2, LONG),
    Kind("api-silent", "api", "silent", 1, LONG),
    Kind("api-page", "api", "page", 2),
    Kind("api-watch-error", "api", "watch-error", 1),
    Kind("api-disconnect", "api", "disconnect", 2),
    Kind("api-compact", "api", "compact", 1),
    # What is removed.
    Kind("remove-csi-socket", "remove", "csi-socket", 2),
    Kind("remove-registration-socket", "remove", "registration-socket", 2),
    Kind("remove-provider-socket", "remove", "provider-socket", 2),
    Kind("remove-status-sockets", "remove", "status-sockets", 1),
    Kind("remove-status-directory", "remove", "status-directory", 1),
    Kind("remove-csi-directory", "remove", "csi-directory", 1),
    Kind("remove-provider-directory", "remove", "provider-directory", 1),
    # What is full.
    Kind("full-tmp", "full", "tmp", 2, LONG),
    Kind("full-descriptors", "full", "descriptors", 2),
    Kind("full-volume", "provider", "bulky", 2),
    # The clock.
    Kind("clock", "clock", "", 4, LONG),
    # What the provider replies.
    Kind("reply-cut", "provider", "cut", 2),
    Kind("reply-slow", "provider", "slow", 3, LONG),
    Kind("reply-oversized", "provider", "oversized", 2),
    Kind("reply-wrong", "provider", "wrong", 3),
    Kind("reply-error", "provider", "error", 3),
    # Who reads the log.
    Kind("log-unread", "log", "", 2, LONG),
    # What users change.
    Kind("class-edited", "class", "edited", 2),
    Kind("class-deleted", "class", "deleted", 2),
    Kind("class-wrong", "class", "wrong", 2),
)
KINDS: Mapping[str, Kind] = {kind.name: kind for kind in _ALL}
