"""A cgroup with the limits that the chart gives: one container has the sum of the trio's three."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CPU, MEMORY = 0.4, 400 * 2**20
"""secrets-store 200m and 200 Mi, node-driver-registrar and liveness-probe 100m and 100 Mi each."""
_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
_NAME = f"bench-{os.getpid()}"


@contextmanager
def limited() -> Iterator[tuple[str, ...] | None]:
    """A prefix for a command that puts it there; None where this machine does not let us make a cgroup."""
    made: list[Path] = []
    try:
        yield _make(made)
    finally:
        for directory in made:
            with suppress(OSError):
                directory.rmdir()


def _make(made: list[Path]) -> tuple[str, ...] | None:
    quota = int(_PERIOD * CPU)
    if (_ROOT / "cgroup.controllers").exists():
        wanted = [(_ROOT / _NAME, {"cpu.max": f"{quota} {_PERIOD}", "memory.max": str(MEMORY)})]
    else:
        wanted = [
            (_ROOT / "cpu" / _NAME, {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)}),
            (_ROOT / "memory" / _NAME, {"memory.limit_in_bytes": str(MEMORY)})]  # fmt: skip
    try:
        for directory, values in wanted:
            directory.mkdir()
            made.append(directory)
            for name, value in values.items():
                (directory / name).write_text(value)
    except OSError:
        return None
    enter = "; ".join(f"echo $$ > {directory}/cgroup.procs" for directory in made)
    return ("sh", "-c", f'{enter}; exec "$@"', "limited")
