"""A filter for system calls (https://docs.kernel.org/userspace-api/seccomp_filter.html) of a process that talks over
sockets and reads files.

It is a list of what is refused, with EPERM: an interpreter and gRPC use a hundred and more system calls, and each new
version others, so a list of what is allowed would end a healthy process on a kernel that nobody has tried. Refused are
the calls that change mounts, namespaces, the kernel or its clock, that read or change other processes, and those that
exploits of the last years began with.
"""

import ctypes
import platform
import struct

from runtime.privileges.libc import check, libc

# linux/audit.h, linux/filter.h, linux/seccomp.h
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER_OR_EQUAL, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_ALLOW, _ERRNO_EPERM = 0x7FFF0000, 0x00050001
_X32_BIT = 0x40000000
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

# Numbers on x86_64 and aarch64 (asm/unistd_64.h, asm-generic/unistd.h); None where the architecture lacks the call.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "open_tree": (428, 428),
    "move_mount": (429, 429),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "unshare": (272, 97),
    "setns": (308, 268),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "pidfd_getfd": (438, 438),
    "kcmp": (312, 272),
    "bpf": (321, 280),
    "perf_event_open": (298, 241),
    "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "acct": (163, 89),
    "quotactl": (179, 60),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "adjtimex": (159, 171),
    "clock_adjtime": (305, 266),
    "iopl": (172, None),
    "ioperm": (173, None),
    "personality": (135, 92),
    "syslog": (103, 116),
    "vhangup": (153, 58),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
}


def install() -> None:
    """Filter the system calls of this process and its children, for ever. Raises OSError, or ValueError for an
    architecture whose numbers are not known here."""
    program = build(platform.machine())
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        """struct sock_fprog."""

        _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    wanted = Program(len(program) // 8, ctypes.cast(code, ctypes.c_void_p))
    check(libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(wanted), 0, 0))


def build(machine: str) -> bytes:
    """The filter as a classic BPF program. Raises ValueError for an unknown architecture."""
    if machine not in _ARCHITECTURES:
        raise ValueError(f"no filter for {machine}")
    column = list(_ARCHITECTURES).index(machine)
    numbers = sorted(number for pair in REFUSED.values() if (number := pair[column]) is not None)
    program = [
        _instruction(_LOAD, _ARCHITECTURE_OFFSET),
        # Another architecture's numbers (32-bit programs) mean other calls: all are refused.
        _instruction(_JUMP_IF_EQUAL, _ARCHITECTURES[machine], on_true=1),
        _instruction(_RETURN, _ERRNO_EPERM),
        _instruction(_LOAD, _NUMBER_OFFSET),
    ]
    # The jumps lead to the last instruction; those of the x32 ABI have the same numbers with a bit more.
    left = len(numbers) + 1
    program.append(_instruction(_JUMP_IF_GREATER_OR_EQUAL, _X32_BIT, on_true=left))
    for position, number in enumerate(numbers):
        program.append(_instruction(_JUMP_IF_EQUAL, number, on_true=left - position - 1))
    program += [_instruction(_RETURN, _ALLOW), _instruction(_RETURN, _ERRNO_EPERM)]
    return b"".join(program)


def _instruction(code: int, operand: int, on_true: int = 0, on_false: int = 0) -> bytes:
    """struct sock_filter."""
    return struct.pack("HBBI", code, on_true, on_false, operand)
