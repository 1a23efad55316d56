"""The result of one check."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """``UNKNOWN``: it could not be found out, for example because the user may not read it."""

    OK = "ok"
    PROBLEM = "problem"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Check:
    """``sentence`` says what was found, and for a problem what to do."""

    what: str
    state: State
    sentence: str


def check(what: str, problem: str, fine: str) -> Check:
    """A check that is fine if there is no ``problem``."""
    return Check(what, State.PROBLEM if problem else State.OK, problem or fine)
