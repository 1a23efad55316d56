"""What the container does while nothing happens."""

import time
from pathlib import Path

from tests.container.test_whole import Container
from tests.support.waiting import wait_until

OBSERVED_SECONDS = 3.0
# Some three times what was measured, 0.3 to 0.7 a second: a loop that polls more often is a mistake.
MOST_A_SECOND = 2.0


def test_event_loops_sleep(container: Container) -> None:
    """No kubelet, no volumes, no calls → soon after the start the event loop of each role is hardly ever woken. gRPC's
    own threads, of which there are more on a machine with more cores, are not counted."""
    rates: dict[str, float] = {}

    def asleep() -> bool:
        before = _wakeups(container)
        time.sleep(OBSERVED_SECONDS)  # what is measured is a rate
        after = _wakeups(container)
        assert set(before) == set(after) == {"driver", "registrar", "probe"}
        rates.update({role: (after[role] - before[role]) / OBSERVED_SECONDS for role in before})
        return all(rate <= MOST_A_SECOND for rate in rates.values())

    wait_until(asleep, lambda: f"the event loops to sleep; woken a second: {rates}", 30)


def _wakeups(container: Container) -> dict[str, int]:
    """How often the main thread of each role, in which its event loop runs, has been woken."""
    found = {}
    for role, process in container.roles().items():
        status = Path(f"/proc/{process.pid}/task/{process.pid}/status").read_text().split()
        found[role] = int(status[status.index("voluntary_ctxt_switches:") + 1])
    return found
