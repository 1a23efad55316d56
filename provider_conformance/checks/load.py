"""Many calls at a time, calls that are given up, and a restart."""

import asyncio
from collections import Counter

from provider_conformance.check import Check, Failed, Skipped, Subject

# More than the usual pools of threads have.
ABANDONED_CALLS = 100
SLOW_SECONDS, QUICK_SECONDS = 0.3, 0.001
RESTART_SECONDS = 60.0


async def concurrency(subject: Subject) -> None:
    """A node with many pods starts, and the health check goes on."""
    client, number = subject.client, subject.settings.concurrency
    calls = (client.mount(client.request(pod=f"-{index}")) for index in range(number))
    answers, version = await asyncio.gather(asyncio.gather(*calls), client.version())
    if failed := [answer.outcome for answer in answers if not answer.ok]:
        [(outcome, times)] = Counter(failed).most_common(1)
        raise Failed(f"of {number} calls at a time {len(failed)} fail, {times} with {outcome}")
    if isinstance(version, str):
        raise Failed(f"during {number} calls of Mount, Version is answered with {version}")
    for answer in answers:
        await subject.delivered(f"one of {number} calls at a time", answer)


async def given_up(subject: Subject) -> None:
    """What nobody waits for must not keep out what somebody waits for: drivers and kubelet give up, and call again."""
    client, slow = subject.client, subject.settings.slow
    seconds = SLOW_SECONDS if slow else QUICK_SECONDS
    message = client.request(slow or None)
    calls = [asyncio.create_task(client.mount(message, seconds=seconds)) for _ in range(ABANDONED_CALLS)]
    answers = await asyncio.gather(*calls)
    if slow and all(answer.ok for answer in answers):
        raise Skipped(f"the slow class is delivered within {SLOW_SECONDS:g} s: its objects must take longer")
    await subject.still_serves(f"{ABANDONED_CALLS} calls that were given up after {seconds:g} s")


async def restart(subject: Subject) -> None:
    """The socket that the last process left must not be in the way of the next, not even after a kill."""
    if not subject.settings.restart:
        raise Skipped("the settings have no command that restarts the provider")
    process = await asyncio.create_subprocess_exec(
        *subject.settings.restart, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        status = await asyncio.wait_for(process.wait(), RESTART_SECONDS)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Skipped(f"the restart command takes longer than {RESTART_SECONDS:g} s") from None
    if status != 0:
        raise Skipped(f"the restart command ended with {status}")
    await subject.client.reconnect()
    if not await subject.recovers(subject.settings.seconds):
        raise Failed(f"{subject.settings.seconds:g} s after its restart the provider does not deliver the good class")


CHECKS = (
    Check("concurrency", "many pods are served at a time", concurrency, ("mount", "version")),
    Check("given-up", "calls that are given up do not keep out others", given_up, ("mount", "concurrency")),
    Check("restart", "the provider serves again after a restart", restart),
)
