"""The calls of the load generator that failed: counted and shown in the report, not a reason to give a measure up."""

from collections import Counter
from collections.abc import Sequence
from typing import Any


class FailedCalls:
    """Numbers and first errors by subject and kind of call."""

    def __init__(self) -> None:
        self._numbers: Counter[tuple[str, str]] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def check(self, subject: str, what: str, result: dict[str, Any]) -> dict[str, Any]:
        """Count the failures in a job's result, and return it. Raises RuntimeError if no call of the job succeeded:
        there is nothing to measure."""
        failures: list[str] = result["failures"]
        if failures:
            self._numbers[subject, what] += len(failures)
            self._first.setdefault((subject, what), failures[0])
            if not result["seconds"]:
                raise RuntimeError(
                    f"{subject}: all {len(failures)} calls failed ({what}), the first with: {failures[0]}"
                )
        return result

    def lines(self) -> Sequence[str]:
        """The part of the report; empty if no call failed."""
        if not self._numbers:
            return []
        return [
            "",
            "Failed calls; no time above includes them, but they count for CPU and totals:",
            "",
            "| subject | call | failed | the first with |",
            "| --- | --- | ---: | --- |",
            *(
                f"| {subject} | {what} | {number} | {self._first[subject, what].replace('|', '/')} |"
                for (subject, what), number in self._numbers.items()
            ),
        ]
