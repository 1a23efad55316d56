"""Reading a role's stdout and stderr: whatever happens, either its pipe is read on or the role is ended.

supervisord stops to read a pipe after the first error, also after one that passes, such as a lack of memory. A role
whose pipe nobody reads hangs in its next log line for as long as the container lives.
"""

import os
import time
from typing import Any

from supervisor.dispatchers import POutputDispatcher

from runtime import logs
from runtime.limits import READ_FAILURE_SECONDS

log = logs.get(__name__)

_CHUNK_BYTES = 128 * 1024
_PAUSE_SECONDS = 0.05


class RoleOutput(POutputDispatcher):  # type: ignore[misc]  # the package is untyped
    """One stream of a role. After a failed read it is left alone for a moment: see ``seconds_until_retry``."""

    def __init__(self, process: Any, event_type: Any, fd: int) -> None:
        super().__init__(process, event_type, fd)
        self._failing_since: float | None = None
        self._not_before = 0.0

    @property
    def seconds_until_retry(self) -> float | None:
        """Seconds until it may be read again; None if it may be read at any time, or never again."""
        return None if self.closed or self._failing_since is None else self._not_before - time.monotonic()

    def readable(self) -> bool:
        """Whether the main loop shall wait for output."""
        left = self.seconds_until_retry
        return not self.closed and (left is None or left <= 0)

    def handle_read_event(self) -> None:
        """Read and forward what there is; no data at all means that the role has ended. Never raises."""
        try:
            data = os.read(self.fd, _CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, MemoryError) as error:
            self._pause(error)
            return
        self._failing_since = None
        if not data:
            self.close()
            return
        try:
            self._log(data)
        except Exception as bug:  # the role must be able to write on, whatever it has written
            log.error("A role's output cannot be forwarded", exc=bug, role=self._role)

    def _pause(self, error: BaseException) -> None:
        """Reading has failed: do so again later, or end the role if that has been going on for too long."""
        now = time.monotonic()
        self._not_before = now + _PAUSE_SECONDS
        if self._failing_since is None:
            self._failing_since = now
            log.warning("A role's output cannot be read; trying again", role=self._role, reason=repr(error))
        elif now - self._failing_since > READ_FAILURE_SECONDS:
            self.close()
            log.error("Ending a role whose output cannot be read, so that it is restarted", role=self._role)
            self.process.end_now()

    @property
    def _role(self) -> str:
        return str(self.process.config.name)
