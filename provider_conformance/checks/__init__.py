"""All checks, in the order in which they are run: what others need comes first, what may end the provider last."""

from collections.abc import Sequence

from provider_conformance.check import Check
from provider_conformance.checks import basics, errors, load, replies, requests

CHECKS: Sequence[Check] = (
    *basics.CHECKS,
    *replies.CHECKS,
    *requests.CHECKS,
    *errors.CHECKS,
    *load.CHECKS,
    *errors.LAST,
)
