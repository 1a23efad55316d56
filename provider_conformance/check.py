"""What a check is, and how all of them are run, one after another."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from provider_conformance.answers import Answer
from provider_conformance.client import Client
from provider_conformance.settings import Settings

# Within this time a provider that has crashed is restarted by whoever runs it.
RECOVERY_SECONDS = 5.0
POLL_SECONDS = 0.1
Outcome = Literal["pass", "FAIL", "skip"]


class Failed(Exception):
    """The provider does not do what the check is about; the sentence says what it did, and what to do."""


class Skipped(Exception):
    """The check could not be made; the sentence says why."""


@dataclass
class Subject:
    """The provider, and its answer for the good class, which the check ``mount`` sets."""

    client: Client
    settings: Settings
    good: Answer

    async def delivered(self, what: str, answer: Answer) -> Answer:
        """The answer, if it delivers the same paths and objects as the good class. Failed otherwise."""
        if not answer.ok:
            raise Failed(f"{what} is answered with {answer.outcome}")
        if set(answer.contents) != set(self.good.contents) or set(answer.versions) != set(self.good.versions):
            raise Failed(f"{what} is answered with other files or objects than the same call without it")
        return answer

    async def recovers(self, seconds: float) -> bool:
        """Whether the good class is delivered within so many seconds, however often it has to be asked for."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    if (await self.client.mount(self.client.request())).ok:
                        return True
                    await asyncio.sleep(POLL_SECONDS)
        return False

    async def still_serves(self, what: str) -> None:
        """Failed unless the good class is delivered, after ``what``."""
        answer = await self.client.mount(self.client.request())
        if not answer.ok:
            raise Failed(f"after {what}, a correct call is answered with {answer.outcome}")


@dataclass(frozen=True)
class Check:
    """One check: ``run`` returns, or raises Failed or Skipped. It is skipped unless all that it ``needs`` passed."""

    name: str
    what: str
    run: Callable[[Subject], Awaitable[None]]
    needs: Sequence[str] = ("mount",)


@dataclass(frozen=True)
class Result:
    """How one check ended, and how many seconds it took."""

    check: Check
    outcome: Outcome
    reason: str = ""
    seconds: float = 0.0


async def run_checks(checks: Sequence[Check], subject: Subject, skip: Collection[str] = ()) -> list[Result]:
    """Run the checks in their order. What fails after a check that broke the provider for good says nothing: if it no
    longer delivers even the good class, the rest is skipped."""
    results: list[Result] = []
    gone = ""
    for check in checks:
        passed = {result.check.name for result in results if result.outcome == "pass"}
        missing = [name for name in check.needs if name not in passed]
        if check.name in skip:
            results.append(Result(check, "skip", "by request"))
        elif gone or missing:
            results.append(Result(check, "skip", gone or f"{missing[0]} did not pass"))
        else:
            results.append(await _run(check, subject))
            if results[-1].outcome == "FAIL" and "mount" in passed and not await subject.recovers(RECOVERY_SECONDS):
                gone = f"since {check.name} the provider does not deliver the good class"
    return results


async def _run(check: Check, subject: Subject) -> Result:
    began = time.monotonic()
    outcome: Outcome = "pass"
    reason = ""
    try:
        await check.run(subject)
    except Failed as failed:
        outcome, reason = "FAIL", str(failed)
    except Skipped as skipped:
        outcome, reason = "skip", str(skipped)
    return Result(check, outcome, reason, time.monotonic() - began)
