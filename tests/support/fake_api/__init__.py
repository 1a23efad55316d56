"""A fake Kubernetes API server over real HTTP: see README.md."""

from tests.support.fake_api.calls import Call
from tests.support.fake_api.errors import ApiError, Object
from tests.support.fake_api.faults import Answer, Delay, Drop, Fault, HalfAnswer, LateAnswer, Page, Silence, WatchError
from tests.support.fake_api.server import FakeApi

__all__ = [
    "Answer",
    "ApiError",
    "Call",
    "Delay",
    "Drop",
    "FakeApi",
    "Fault",
    "HalfAnswer",
    "LateAnswer",
    "Object",
    "Page",
    "Silence",
    "WatchError",
]
