"""supervisord's own log lines, written through ours."""

from collections.abc import Sequence
from typing import Any

from runtime import logs

log = logs.get(__name__)


class SupervisordLog:
    """The interface of supervisord's logger; its routine messages need a higher verbosity."""

    handlers: Sequence[Any] = ()

    def blather(self, text: str, **fields: object) -> None:
        """Dropped: internals of supervisord."""

    trace = debug = blather

    def info(self, text: str, **fields: object) -> None:
        """Changes of a program's state."""
        log.verbose(2, text)

    def warn(self, text: str, **fields: object) -> None:
        """Deaths and signals."""
        log.warning(text)

    def error(self, text: str, **fields: object) -> None:
        """Failures."""
        log.error(text)

    critical = error

    def log(self, level: int, text: str, **fields: object) -> None:
        """Dropped: the programs' output, which ``output`` forwards."""

    def close(self) -> None:
        """Nothing is open."""
