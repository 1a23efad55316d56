"""Where the kernel refuses a private mount namespace: the demo and ``secrets-store dev`` say what to do."""

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.dev.namespaces import Rights

ROOT = Path(__file__).resolve().parents[2]
# Becomes a user of a user namespace in which no further one is allowed, and runs a program there.
_LIMITED = """\
import ctypes, os, sys
from pathlib import Path
uid, gid = os.getuid(), os.getgid()
assert ctypes.CDLL(None, use_errno=True).unshare(0x10000000) == 0
Path("/proc/self/setgroups").write_text("deny")
Path("/proc/self/uid_map").write_text(f"1000 {uid} 1")
Path("/proc/self/gid_map").write_text(f"1000 {gid} 1")
Path("/proc/sys/user/max_user_namespaces").write_text("0")
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
DEMO = ("-m", "demo")
TESTS = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/cli/test_namespaces.py")


def refusal(result: "subprocess.CompletedProcess[str]") -> str:
    """The one line that it has written."""
    assert result.returncode == 1 and len(result.stderr.splitlines()) == 1, result.stderr
    return result.stderr


@pytest.fixture
def dev(tmp_path: Path) -> tuple[str, ...]:
    """The command, with files that exist."""
    for name in ("my.py", "app.yaml"):
        (tmp_path / name).write_text("")
    return ("-m", "cli", "dev", f"--provider={tmp_path}/my.py", f"--class={tmp_path}/app.yaml")


def without_admin() -> None:
    """Drop CAP_SYS_ADMIN as a container without rights lacks it: from the bounding set, so that a program has none."""
    assert ctypes.CDLL(None).prctl(24, 21, 0, 0, 0) == 0  # PR_CAPBSET_DROP


@pytest.mark.skipif(os.getuid() != 0, reason="a root user without rights can only be made by one who has them")
def test_root_without_rights() -> None:
    """Root without CAP_SYS_ADMIN → one line that names docker run --privileged, exit code 1."""
    for command in (DEMO, TESTS):
        result = subprocess.run(
            [sys.executable, *command], capture_output=True, text=True, cwd=ROOT, preexec_fn=without_admin, check=False
        )
        sentence = refusal(result)
        assert "has no CAP_SYS_ADMIN" in sentence and "docker run --privileged" in sentence


def test_user_namespaces_are_used_up(dev: tuple[str, ...]) -> None:
    """A user where no further user namespace is allowed → one line with the sysctl, not "No space left on device"."""
    limited = [sys.executable, "-c", _LIMITED, *dev]
    sentence = refusal(subprocess.run(limited, capture_output=True, text=True, cwd=ROOT, check=False))
    assert "sysctl -w user.max_user_namespaces=15000" in sentence and "space left" not in sentence


@pytest.mark.parametrize(
    "rights, settings, number, sentence",
    [
        ((True, True), {"user.max_mnt_namespaces": "0"}, errno.ENOSPC, "sysctl -w user.max_mnt_namespaces="),
        ((False, False), {"user.max_user_namespaces": "0"}, errno.ENOSPC, "user.max_user_namespaces allows (0)"),
        ((False, False), {"user.max_user_namespaces": "9"}, errno.EUSERS, "user.max_user_namespaces allows (9)"),
        (
            (False, False),
            {"user.max_user_namespaces": "9", "user.max_mnt_namespaces": "0"},
            errno.ENOSPC,
            "sysctl -w user.max_mnt_namespaces=",
        ),
        ((False, False), {"kernel.unprivileged_userns_clone": "0"}, errno.EPERM, "kernel.unprivileged_userns_clone=1"),
        (
            (False, False),
            {"kernel.apparmor_restrict_unprivileged_userns": "1"},
            errno.EACCES,
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        ),
        ((False, False), {}, errno.EPERM, "run this as root, or in a container, docker run --privileged"),
        ((True, True), {}, errno.EACCES, "in the way: in a container, docker run --privileged"),
        ((True, False), {}, errno.EPERM, "has no CAP_SYS_ADMIN"),
        ((False, False), {}, errno.EINVAL, "the kernel has no user namespaces"),
    ],
)
def test_advice(rights: tuple[bool, bool], settings: dict[str, str], number: int, sentence: str) -> None:
    """An error number and the machine's settings → what to do."""
    assert sentence in Rights(*rights, lambda name: settings.get(name, "")).advice(number)
