"""What the registrar knows, told in four states."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class State(Enum):
    """Where the registration stands."""

    NO_DRIVER = "no driver"
    WAITING = "waiting for kubelet"
    REFUSED = "refused by kubelet"
    REGISTERED = "registered"


@dataclass
class Registration:
    """The present state, since when (Unix time), and what was wrong last."""

    state: State = State.NO_DRIVER
    driver: str = ""
    error: str = ""
    since: float = field(default_factory=time.time)

    def become(self, state: State, *, driver: str | None = None, error: str = "") -> bool:
        """Enter a state; tells whether anything changed, so that it is logged once."""
        changed = (state, error) != (self.state, self.error)
        if state is not self.state:
            self.since = time.time()
        self.state, self.error = state, error
        if driver is not None:
            self.driver = driver
        return changed

    def snapshot(self) -> Mapping[str, object]:
        """For the status socket."""
        return {
            "role": "registrar",
            "state": self.state.value,
            "driver": self.driver,
            "since": self.since,
            "error": self.error,
        }
