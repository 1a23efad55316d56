"""The restart policy's arithmetic."""

import pytest

from runtime.supervisor.roles import RestartPolicy


@pytest.mark.parametrize("lived", [1.05, 1.2, 2.0, 3.0])
def test_the_default_limit_can_be_reached(lived: float) -> None:
    """A role keeps dying soon after it counts as started → with the default policy the container ends within two
    minutes: the growing delays do not keep the number of deaths in the window below the limit."""
    policy = RestartPolicy()
    now, deaths = 0.0, list[float]()
    while len(deaths) <= policy.max_restarts:
        now += lived
        deaths = [death for death in deaths if death >= now - policy.window_seconds] + [now]
        now += policy.remaining_delay(len(deaths), lived)
        assert now < 120, f"{len(deaths)} deaths in the window, {policy.max_restarts} allowed"
    print(f"living {lived} s: ends after {now:.0f} s")


def test_delays() -> None:
    """No delay after the first death, then doubling up to a maximum; the time that a role lived is subtracted."""
    policy = RestartPolicy()._replace(first_delay=0.05, max_delay=2.0)
    assert [policy.delay(deaths) for deaths in (1, 2, 3, 4, 50)] == [0.0, 0.05, 0.1, 0.2, 2.0]
    assert policy.remaining_delay(50, lived=10.0) == 0.0
    assert policy.remaining_delay(50, lived=0.5) == 1.5
