"""What supervisord knows of each role, shared with the roles: a page of memory made before the first fork.

No file, no socket, no RPC: the supervisor writes a fixed record a role, the roles read it.
"""

import mmap
import struct
from collections.abc import Sequence
from dataclasses import dataclass

# pid, starts, how the last life ended (NEVER, an exit code ≥ 0, or -signal), Unix time of the last start
_RECORD = struct.Struct("=iiid")
NEVER = -1000


@dataclass(frozen=True)
class RoleState:
    """One role: ``restarts`` since the container began, ``last_exit`` None while its first life lasts (negative: a
    signal)."""

    name: str
    pid: int
    restarts: int
    last_exit: int | None
    started: float


class RoleTable:
    """The shared records, in the order of ``names``."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._memory = mmap.mmap(-1, max(1, len(names)) * _RECORD.size)
        for index in range(len(names)):
            _RECORD.pack_into(self._memory, index * _RECORD.size, 0, 0, NEVER, 0.0)

    def states(self) -> list[RoleState]:
        """All records. A reader may see a start half written; it is right a moment later."""
        found = []
        for index, name in enumerate(self._names):
            pid, starts, last_exit, started = _RECORD.unpack_from(self._memory, index * _RECORD.size)
            found.append(RoleState(name, pid, max(0, starts - 1), None if last_exit == NEVER else last_exit, started))
        return found

    def record_start(self, name: str, pid: int, when: float) -> None:
        """A role was forked."""
        offset = self._offset(name)
        _, starts, last_exit, _ = _RECORD.unpack_from(self._memory, offset)
        _RECORD.pack_into(self._memory, offset, pid, starts + 1, last_exit, when)

    def record_exit(self, name: str, how: int) -> None:
        """A role ended: its exit code, or minus its signal."""
        offset = self._offset(name)
        _, starts, _, started = _RECORD.unpack_from(self._memory, offset)
        _RECORD.pack_into(self._memory, offset, 0, starts, how, started)

    def _offset(self, name: str) -> int:
        return self._names.index(name) * _RECORD.size
