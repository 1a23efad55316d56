"""Expected failures, split by what the caller can do about them.

A ``Failure`` carries one sentence for users: it says what is wrong and what to do, and never contains a secret, a token
or the value of a volume attribute. Any other exception is a bug. ``runtime.rpc`` maps these types to gRPC status codes,
at the service boundary and nowhere else.
"""


class Failure(Exception):
    """An expected failure; ``str(failure)`` is a sentence for users. UNKNOWN, unless a subclass is more precise.

    ``error_type`` is the metrics' label of that name; empty until the step that failed has set it.
    """

    def __init__(self, sentence: str = "", error_type: str = "") -> None:
        super().__init__(sentence)
        self.error_type = error_type


class InvalidRequest(Failure):
    """The request itself is wrong; the same request will never succeed (INVALID_ARGUMENT)."""


class NotFound(Failure):
    """Something that the request names does not exist (NOT_FOUND)."""


class PreconditionFailed(Failure):
    """The system is not in the state that the request needs, and somebody must change that (FAILED_PRECONDITION)."""


class PermissionDenied(Failure):
    """This process lacks a permission (PERMISSION_DENIED)."""


class ResourceExhausted(Failure):
    """A limit was reached: disk, memory, message size, quota (RESOURCE_EXHAUSTED)."""


class Unavailable(Failure):
    """Something we depend on is unavailable; a later retry may succeed (UNAVAILABLE)."""


class DeadlineExceeded(Failure):
    """The caller's deadline has passed (DEADLINE_EXCEEDED)."""


class Aborted(Failure):
    """Stopped halfway, in a state that must be kept for the next attempt (ABORTED)."""


class Unimplemented(Failure):
    """A method that this driver does not implement (UNIMPLEMENTED)."""


class Internal(Failure):
    """The operating system failed (a mount, a file) in a way that the caller cannot correct (INTERNAL)."""


class ConfigurationError(Failure):
    """A flag, a file or the environment is wrong: reported in one sentence at start, with exit code 1 (2 for an unknown
    flag, as in Go)."""
