"""Bounds the values of a metric's label: each is a series that a process keeps, and Prometheus stores, for ever."""

import re
from collections.abc import Callable, Collection

OTHER = "other"
# What a provider's error code is counted as if it is free text.
PROVIDER_ERROR = "ProviderError"
OWN_ERROR_TYPES = (
    "",
    "SecretProviderClassNotFound",
    "FailedToEnsureMountPoint",
    "FailedToMount",
    "GRPCProviderError",
    "FileWriteError",
    PROVIDER_ERROR,
)
_PROVIDER = re.compile(r"[a-zA-Z0-9_-]{0,30}")
_ERROR_TYPE = re.compile(r"[a-zA-Z0-9_.:/-]{0,64}")


class BoundedLabel:
    """The values of one label: of a form, and at most ``limit`` of them, ``reserved`` ones included. All others are
    counted as ``other``."""

    def __init__(self, is_valid: Callable[[str], object], limit: int, reserved: Collection[str] = ()) -> None:
        self._is_valid = is_valid
        self._limit = limit
        self._known = set(reserved)

    def __call__(self, value: str) -> str:
        """``value``, or ``other``."""
        if value in self._known:
            return value
        if len(self._known) >= self._limit or not self._is_valid(value):
            return OTHER
        self._known.add(value)
        return value

    def knows(self, value: str) -> bool:
        """Whether ``value`` has been counted as itself."""
        return value in self._known


def is_provider_label(value: str) -> bool:
    """Whether a provider may have this name, or none; a class may name whatever its author likes."""
    return _PROVIDER.fullmatch(value) is not None


def is_error_type(value: str) -> bool:
    """Whether this may be an error code, and no text: providers may reply with whatever they like."""
    return _ERROR_TYPE.fullmatch(value) is not None
