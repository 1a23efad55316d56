"""Everything that a provider written in Python needs: typed requests and replies, failures that become gRPC status
codes, and serving with flags, logs and signals. ``docs/providers.md`` shows a complete provider of about 30 lines.

These names are the public interface, together with ``provider_kit.objects`` and ``provider_kit.fields``, which read the
class parameter ``objects``, and ``provider_kit.testing`` for tests.
"""

from provider_kit.command import ServeConfig, run_command, serve_until_stopped
from provider_kit.provider import Provider
from provider_kit.reply import File, MountReply, ReplyError
from provider_kit.request import MountRequest, Pod, Token
from provider_kit.serving import Server, serve
from provider_kit.versions import Versions, load_key
from runtime.errors import (
    ConfigurationError,
    Failure,
    Internal,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    PreconditionFailed,
    ResourceExhausted,
    Unavailable,
)
from runtime.flags import Duration, flag, parse_duration
from runtime.logs import get as get_log
from runtime.redact import withhold
from runtime.status_codes import RemoteFailure

__all__ = [
    "ConfigurationError",
    "Duration",
    "Failure",
    "File",
    "Internal",
    "InvalidRequest",
    "MountReply",
    "MountRequest",
    "NotFound",
    "PermissionDenied",
    "Pod",
    "PreconditionFailed",
    "Provider",
    "RemoteFailure",
    "ReplyError",
    "ResourceExhausted",
    "ServeConfig",
    "Server",
    "Token",
    "Unavailable",
    "Versions",
    "flag",
    "get_log",
    "load_key",
    "parse_duration",
    "run_command",
    "serve",
    "serve_until_stopped",
    "withhold",
]
