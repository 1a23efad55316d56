"""A private mount namespace for the demo and ``secrets-store dev``, and what to do where the kernel refuses one."""

import ctypes
import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_MS_REC, _MS_PRIVATE = 0x4000, 1 << 18
_CAP_SYS_ADMIN = 21
_libc = ctypes.CDLL(None, use_errno=True)


class Refused(Exception):
    """The sentence says what to do."""


@dataclass(frozen=True)
class Rights:
    """``root``: user id 0; ``admin``: has CAP_SYS_ADMIN. ``sysctl`` returns a setting, "" if it does not exist."""

    root: bool
    admin: bool
    sysctl: Callable[[str], str]

    @classmethod
    def own(cls) -> "Rights":
        """Those of this process."""
        status = Path("/proc/self/status").read_text()
        effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
        return cls(os.geteuid() == 0, bool(effective >> _CAP_SYS_ADMIN & 1), _sysctl)

    def advice(self, number: int) -> str:
        """What to do about an error number of unshare(2) or mount(2)."""
        if number in (errno.ENOSPC, errno.EUSERS):
            # unshare(2): a limit on their number, not on space.
            kinds = ("mnt",) if self.root else ("user", "mnt")
            name = next((name for name in map(_limit, kinds) if self.sysctl(name) == "0"), _limit(kinds[0]))
            return (
                f"as many namespaces are in use as {name} allows ({self.sysctl(name) or 'unknown'}): as root, run "
                f"sysctl -w {name}=15000"
            )
        if self.root and not self.admin:
            return (
                "this root user has no CAP_SYS_ADMIN, without which nothing can be mounted: start the container with "
                "docker run --privileged, or leave the container"
            )
        if not self.root:
            for name, value in (
                ("kernel.unprivileged_userns_clone", "0"),
                ("kernel.apparmor_restrict_unprivileged_userns", "1"),
            ):
                if self.sysctl(name) == value:
                    right = "1" if value == "0" else "0"
                    return (
                        f"{name}={value} keeps users from creating namespaces: run this as root, or, as root, "
                        f"sysctl -w {name}={right}"
                    )
        if number == errno.EINVAL:
            return "the kernel has no user namespaces: run this as root"
        who = "" if self.root else "run this as root, or "
        return f"a filter (seccomp, AppArmor, SELinux) is in the way: {who}in a container, docker run --privileged"


def enter(rights: Rights | None = None) -> None:
    """Enter a new mount namespace, which hides later mounts from the machine; without root, together with a user
    namespace in which this process is root. Call it while the process has a single thread. Raises Refused.
    """
    rights = rights or Rights.own()
    uid, gid = os.geteuid(), os.getegid()
    what = "a private mount namespace cannot be created"
    check(_libc.unshare(_CLONE_NEWNS | (0 if rights.root else _CLONE_NEWUSER)), what, rights)
    if not rights.root:
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
        except OSError as error:
            raise _refused(what, error.errno or 0, rights) from None
    check(_libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None), what, rights)


def check(result: int, what: str, rights: Rights) -> None:
    """Raises Refused if a call of the C library has failed."""
    if result != 0:
        raise _refused(what, ctypes.get_errno(), rights)


def _refused(what: str, number: int, rights: Rights) -> Refused:
    return Refused(f"{what} ({errno.errorcode.get(number, number)}): {rights.advice(number)}")


def _limit(kind: str) -> str:
    return f"user.max_{kind}_namespaces"


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""
