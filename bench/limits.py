"""A cgroup with the resource limits that the chart sets for the container."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml

from bench.processes import ROOT

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000
_NAME = f"bench-{os.getpid()}"


@dataclass(frozen=True)
class Limits:
    """``cpu`` in cores, ``memory`` in bytes."""

    cpu: float
    memory: int

    @staticmethod
    def of_chart() -> "Limits":
        """The chart's default: the sum of the limits of the three containers of the trio."""
        values = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())["linux"]
        limits = [values[part]["resources"]["limits"] for part in ("driver", "registrar", "livenessProbe")]
        return Limits(
            sum(_number(each["cpu"], "m") for each in limits) / 1000,
            sum(_number(each["memory"], "Mi") for each in limits) * 2**20,
        )

    def __str__(self) -> str:
        return f"{self.cpu:g} CPU, {self.memory // 2**20} MiB"


@contextmanager
def limited(limits: Limits) -> Iterator[tuple[str, ...] | None]:
    """A prefix that runs a command in a cgroup with these limits; None if this machine does not allow one."""
    created: list[Path] = []
    try:
        yield _create(created, limits)
    finally:
        for directory in created:
            with suppress(OSError):
                directory.rmdir()


def _create(created: list[Path], limits: Limits) -> tuple[str, ...] | None:
    quota = int(_PERIOD * limits.cpu)
    if (_ROOT / "cgroup.controllers").exists():
        wanted = [(_ROOT / _NAME, {"cpu.max": f"{quota} {_PERIOD}", "memory.max": str(limits.memory)})]
    else:
        wanted = [
            (_ROOT / "cpu" / _NAME, {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": str(quota)}),
            (_ROOT / "memory" / _NAME, {"memory.limit_in_bytes": str(limits.memory)}),
        ]
    try:
        for directory, values in wanted:
            directory.mkdir()
            created.append(directory)
            for name, value in values.items():
                (directory / name).write_text(value)
    except OSError:
        return None
    enter = "; ".join(f"echo $$ > {directory}/cgroup.procs" for directory in created)
    return ("sh", "-c", f'{enter}; exec "$@"', "limited")


def _number(text: str, unit: str) -> int:
    match = re.fullmatch(rf"(\d+){unit}", str(text))
    if match is None:
        raise ValueError(f"helm/values.yaml: {text} is not a number of {unit}")
    return int(match[1])
