"""Expected failures, split by what the caller can do about them.

A ``Failure`` carries one sentence that may be shown to a user: it names what is wrong and what to do, and never holds
a secret, a token or a volume attribute's value. Anything else that is raised is a bug. ``runtime.rpc`` maps these
types to gRPC status codes, at the service boundary and nowhere else.
"""


class Failure(Exception):
    """An expected failure; ``str(failure)`` is a sentence for people. Answered as UNKNOWN unless a subclass says
    better."""


class InvalidRequest(Failure):
    """The request itself is wrong; the same request will never succeed (INVALID_ARGUMENT)."""


class NotFound(Failure):
    """Something that the request names does not exist (NOT_FOUND)."""


class PreconditionFailed(Failure):
    """The system is not in the state that the request needs, and a person must change it (FAILED_PRECONDITION)."""


class PermissionDenied(Failure):
    """We may not do this (PERMISSION_DENIED)."""


class ResourceExhausted(Failure):
    """A limit was reached: disk, memory, message size, quota (RESOURCE_EXHAUSTED)."""


class Unavailable(Failure):
    """Something we depend on is away; trying again later may work (UNAVAILABLE)."""


class DeadlineExceeded(Failure):
    """The caller's deadline ran out (DEADLINE_EXCEEDED)."""


class Aborted(Failure):
    """Stopped half-way in a state that must be kept for the next try (ABORTED)."""


class Unimplemented(Failure):
    """A method that this driver does not offer (UNIMPLEMENTED)."""


class Internal(Failure):
    """The system below us failed (a mount, a file) in a way that the caller cannot mend (INTERNAL)."""


class ConfigurationError(Failure):
    """A flag, a file or the environment is wrong: told in one sentence at start, exit code 1 (2 for an unknown flag,
    as Go does)."""
