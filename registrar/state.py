"""The state of the registration, as logs, /healthz and the status page show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from runtime import clock


class State(Enum):
    """How far the registration has got."""

    NO_DRIVER = "no driver"
    WAITING = "waiting for kubelet"
    REFUSED = "refused by kubelet"
    REGISTERED = "registered"


@dataclass
class Registration:
    """The current state, since which moment (``runtime.clock``), the driver's name and the last error; both are empty
    if there is none."""

    state: State = State.NO_DRIVER
    driver: str = ""
    error: str = ""
    since: float = field(default_factory=clock.now)

    def enter(self, state: State, *, driver: str | None = None, error: str = "") -> bool:
        """Enter a state. Returns whether state or error changed, so that the caller logs each change once."""
        changed = (state, error) != (self.state, self.error)
        if state is not self.state:
            self.since = clock.now()
        self.state, self.error = state, error
        if driver is not None:
            self.driver = driver
        return changed

    def snapshot(self) -> Mapping[str, object]:
        """The registration as it is served on the status socket."""
        return {
            "role": "registrar",
            "state": self.state.value,
            "driver": self.driver,
            "since": clock.wall_time(self.since),
            "error": self.error,
        }
