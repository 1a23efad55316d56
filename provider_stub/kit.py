"""The kit: everything that a provider in Python needs, under one name. ``docs/providers.md`` shows a whole one.

from provider_stub.kit import File, MountReply, MountRequest, Provider, ServeConfig, run_command
"""

from provider_stub.contract import File, MountReply, MountRequest, Pod, Provider, ReplyError, Token
from provider_stub.serving import ServeConfig, Serving, run_command, serve, served
from provider_stub.versions import Versions
from runtime.errors import (
    ConfigurationError,
    Failure,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ResourceExhausted,
    Unavailable,
)
from runtime.flags import Duration, flag

__all__ = [
    "ConfigurationError",
    "Duration",
    "Failure",
    "File",
    "InvalidRequest",
    "MountReply",
    "MountRequest",
    "NotFound",
    "PermissionDenied",
    "Pod",
    "PreconditionFailed",
    "Provider",
    "ReplyError",
    "ResourceExhausted",
    "ServeConfig",
    "Serving",
    "Token",
    "Unavailable",
    "Versions",
    "flag",
    "run_command",
    "serve",
    "served",
]
