"""The roles' pids, restarts and exit codes as the supervisor knows them, in memory shared with the roles.

No file, no socket, no RPC: an anonymous mapping, created before the first fork, holds one fixed-size record per role.
The supervisor writes it and the roles read it. Only its last two fields are the role's own: its report. The last record
is the supervisor's, of which only the memory is used.
"""

import mmap
import struct
import time
from collections.abc import Sequence
from typing import NamedTuple

# pid (0: not running), number of starts, last exit (_NEVER, an exit code ≥ 0, or -signal), Unix time of the last start;
# the report: its monotonic time (0: none since the start), and the process's memory in bytes (0: unknown)
_RECORD = struct.Struct("=iiiddq")
_REPORT = struct.Struct("=dq")
_NEVER = -1000


class RoleState(NamedTuple):
    """One role: its ``pid`` (0 if it is not running), its ``restarts`` since the container started, its ``last_exit``
    (an exit code, minus a signal's number, or None if it has never ended), when it ``started`` (Unix time), and its
    ``memory`` (``runtime.memory``), None if it is not known."""

    name: str
    pid: int
    restarts: int
    last_exit: int | None
    started: float
    memory: int | None = None


class RoleTable:
    """One record for each of ``names``."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._memory = mmap.mmap(-1, (len(names) + 1) * _RECORD.size)
        for index in range(len(names) + 1):
            _RECORD.pack_into(self._memory, index * _RECORD.size, 0, 0, _NEVER, 0.0, 0.0, 0)

    def states(self) -> list[RoleState]:
        """All records. There is no lock: a reader may see a record that is half written, and the whole one a moment
        later."""
        found = []
        for index, name in enumerate(self._names):
            pid, starts, last_exit, started, _, memory = _RECORD.unpack_from(self._memory, index * _RECORD.size)
            exited = None if last_exit == _NEVER else last_exit
            found.append(RoleState(name, pid, max(0, starts - 1), exited, started, memory or None))
        return found

    def record_start(self, name: str, pid: int, when: float) -> None:
        """A role was forked, at the Unix time ``when``."""
        offset = self._offset(name)
        _, starts, last_exit, _, _, _ = _RECORD.unpack_from(self._memory, offset)
        _RECORD.pack_into(self._memory, offset, pid, starts + 1, last_exit, when, 0.0, 0)

    def record_exit(self, name: str, exit_code: int) -> None:
        """A role ended, with an exit code or minus the number of a signal."""
        offset = self._offset(name)
        _, starts, _, started, _, _ = _RECORD.unpack_from(self._memory, offset)
        _RECORD.pack_into(self._memory, offset, 0, starts, exit_code, started, 0.0, 0)

    def report(self, name: str, memory: int = 0) -> None:
        """In the role: its event loop runs, and its ``memory`` in bytes; 0 if that is unknown."""
        _REPORT.pack_into(self._memory, self._report_offset(name), time.monotonic(), memory)

    def report_own(self, memory: int) -> None:
        """In the supervisor: its memory in bytes; 0 if that is unknown."""
        _REPORT.pack_into(self._memory, self._own_report_offset, 0.0, memory)

    @property
    def own_memory(self) -> int | None:
        """The supervisor's memory in bytes; None if it is not known."""
        return int(_REPORT.unpack_from(self._memory, self._own_report_offset)[1]) or None

    def last_report(self, name: str) -> float:
        """When the role has last reported (monotonic clock), 0 if it has not since its start."""
        return float(_REPORT.unpack_from(self._memory, self._report_offset(name))[0])

    @property
    def _own_report_offset(self) -> int:
        return (len(self._names) + 1) * _RECORD.size - _REPORT.size

    def _report_offset(self, name: str) -> int:
        return self._offset(name) + _RECORD.size - _REPORT.size

    def _offset(self, name: str) -> int:
        return self._names.index(name) * _RECORD.size
