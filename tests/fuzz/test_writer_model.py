"""The volume layer as a state machine on real tmpfs, beside a plain model of what a pod reads.

Writes, rewrites, kills before any system call, system calls that fail, a full disk, files of the provider's own, a
reader at the same time, unmounting. After each step: what a pod reads is what the model says, and so is what the driver
finds.
"""

import errno
import os
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from driver.volume import layout, operations, record, remove
from driver.volume.payload import File
from driver.volume.target import Target
from runtime.errors import Failure, ResourceExhausted
from tests.driver.volume.interrupted import interrupting, killed
from tests.driver.volume.support import commit, entries_of, seen
from tests.fuzz.effort import fuzzed, tally
from tests.support.forking import start_server
from tests.support.mounts import mount_points, unmount_below

SIZE = 512 * 1024
GROUP = 1234
Content = dict[str, tuple[int, bytes]]
"""Modes and contents by path."""

paths = st.sampled_from(["a", "b", "c", "d", "d/x", "d/y", "d/z/w", "e/f/g", "e", "x/a", "long" * 60])
contents = st.sampled_from([b"", b"1", b"2", b"3" * 5000])
payloads = st.dictionaries(paths, st.tuples(st.sampled_from([0o644, 0o600, 0o400, 0o755]), contents), max_size=6)
groups = st.sampled_from([None, None, GROUP])
steps = st.integers(0, 25)


def without_conflicts(files: Content) -> Content:
    """Of a path that is both a file and a directory, the file."""
    directories = {path.rsplit("/", depth)[0] for path in files for depth in range(1, path.count("/") + 1)}
    return {path: file for path, file in files.items() if path not in directories}


def top(path: str) -> str:
    """The first component."""
    return path.partition("/")[0]


class VolumeMachine(RuleBasedStateMachine):
    """``content`` is None until the first commit; ``foreign`` are a provider's own files, which hide content of the
    same name until the writer replaces them; ``details`` are those of the record."""

    def __init__(self) -> None:
        super().__init__()
        tally("runs of the volume machine")
        start_server()
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.directory = Path(tempfile.mkdtemp(prefix="t-"))
        self.volume = self.directory / "pods/uid/volumes/kubernetes.io~csi/secrets/mount"
        self.target = Target.from_text(str(self.volume), "")
        self.mounted = False
        self.forget()
        self.number = 0

    def forget(self) -> None:
        self.content: Content | None = None
        self.group: int | None = None
        self.foreign: dict[str, bytes] = {}
        self.details: dict[str, object] = {}
        self.tidy = True  # nothing is left of former writes

    def teardown(self) -> None:
        unmount_below(self.directory)
        shutil.rmtree(self.directory)
        assert len(os.listdir("/proc/self/fd")) == self.descriptors

    # What the model says.

    def expected(self) -> dict[str, bytes]:
        """What a pod reads."""
        hidden = set(map(top, self.foreign))
        shown = {path: data for path, (_, data) in (self.content or {}).items() if top(path) not in hidden}
        return {**shown, **self.foreign}

    def link(self) -> str | None:
        return os.readlink(self.volume / layout.DATA) if os.path.lexists(self.volume / layout.DATA) else None

    def adopt(self, payload: Content, group: int | None, switched: bool) -> None:
        """After a write that may have been interrupted: what of it has happened."""
        same = self.content == payload and self.group == group
        if switched:
            self.content, self.group = payload, group
        for name in {top(path) for path in payload} & {top(path) for path in self.foreign}:
            if (self.volume / name).is_symlink():
                assert switched or same, name
                self.foreign = {path: data for path, data in self.foreign.items() if top(path) != name}

    # What is done.

    def writing(self, payload: Content, group: int | None) -> Callable[[], bool]:
        """What writes a payload as a publish does, with new details for the record."""
        files = [File(path, mode, data) for path, (mode, data) in payload.items()]
        return partial(commit, self.volume, files, group, {"number": self.number})

    @initialize()
    def first_mount(self) -> None:
        self.volume.parent.mkdir(parents=True)
        self.mount()

    @precondition(lambda self: not self.mounted)
    @rule()
    def mount(self) -> None:
        """As a first publish does."""
        self.number += 1
        self.details = {"number": self.number}
        operations.prepare(str(self.volume), SIZE, False, self.details)
        self.mounted = True

    @precondition(lambda self: self.mounted)
    @rule(files=payloads, group=groups)
    def write(self, files: Content, group: int | None) -> None:
        """Complete; a file that is there before and after is there meanwhile, old or new."""
        payload = without_conflicts(files)
        before = self.expected()
        hidden = {top(path) for path in self.foreign} & {top(path) for path in payload}
        changes = self.content != payload or self.group != group or bool(hidden)
        self.number += 1
        with reading(self.volume, before, {path: data for path, (_, data) in payload.items()}):
            changed = self.writing(payload, group)()
        assert changed == changes
        self.content, self.group, self.details = payload, group, {"number": self.number}
        self.foreign = {path: data for path, data in self.foreign.items() if top(path) not in hidden}
        self.check_tidy()
        self.tidy = True

    @precondition(lambda self: self.mounted)
    @rule(files=payloads, group=groups, calls=steps, again=st.booleans())
    def write_and_die(self, files: Content, group: int | None, calls: int, again: bool) -> None:
        """Killed before any system call; perhaps the same is written again."""
        payload = without_conflicts(files)
        former, before = self.link(), self.details
        self.number += 1
        if not killed(self.writing(payload, group), calls):
            tally("writes that were not killed in time")
        self.settle(payload, group, former, before)
        self.tidy = False
        if again:
            self.write(files, group)

    @precondition(lambda self: self.mounted)
    @rule(
        files=payloads,
        group=groups,
        calls=steps,
        number=st.sampled_from([errno.EIO, errno.ENOSPC, errno.EMFILE, errno.EINTR]),
    )
    def write_with_a_failing_call(self, files: Content, group: int | None, calls: int, number: int) -> None:
        """A system call fails once, and the process lives."""
        payload = without_conflicts(files)
        former, before = self.link(), self.details
        self.number += 1

        def fail() -> None:
            raise OSError(number, os.strerror(number))

        names = set(os.listdir(self.volume))
        try:
            with interrupting(calls, fail):
                self.writing(payload, group)()
        except Failure as failure:
            assert isinstance(failure, ResourceExhausted) == (number == errno.ENOSPC)
            if self.link() == former and self.tidy:
                assert set(os.listdir(self.volume)) == names  # the attempt has left nothing
        self.settle(payload, group, former, before)
        self.tidy = False

    @precondition(lambda self: self.mounted)
    @rule()
    def write_too_much(self) -> None:
        """It does not fit into the tmpfs → RESOURCE_EXHAUSTED, and everything is as before."""
        before = self.expected()
        self.number += 1
        try:
            self.writing({"a": (0o644, b"x"), "big": (0o644, b"x" * (2 * SIZE))}, None)()
        except ResourceExhausted:
            assert seen(self.volume) == before
            return
        raise AssertionError("it was written")

    @precondition(lambda self: self.mounted)
    @rule(path=st.sampled_from(["a", "b", "own", "d/x", "own2/y"]), data=contents)
    def provider_writes(self, path: str, data: bytes) -> None:
        """A provider writes a file of its own, where there is nothing else."""
        if os.path.lexists(self.volume / top(path)):
            return
        file = self.volume / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        self.foreign[path] = data

    @precondition(lambda self: self.mounted)
    @rule()
    def publish_fails(self) -> None:
        """The driver unmounts what a failed publish left, but never a committed volume or a provider's files."""
        reason = operations.clear_uncommitted(str(self.volume))
        stays = self.content is not None or bool(self.foreign)
        assert bool(reason) == stays
        if not stays:
            self.mounted = False
            self.forget()

    @rule()
    def unmount(self) -> None:
        """As an unpublish does; also of what is gone already."""
        remove.clear_and_unmount(self.target)
        self.mounted = False
        self.forget()

    @precondition(lambda self: self.mounted)
    @rule(calls=st.integers(0, 6))
    def unmount_and_die(self, calls: int) -> None:
        """Killed at any point → what is still mounted is complete, and the next unpublish completes it."""
        killed(partial(remove.clear_and_unmount, self.target), calls)
        if mount_points(self.volume):
            assert seen(self.volume) == self.expected()
        self.unmount()

    @precondition(lambda self: not self.mounted)
    @rule(calls=st.integers(0, 3))
    def mount_and_die(self, calls: int) -> None:
        """Killed at any point → the next attempt finds out what to do."""
        self.number += 1
        killed(partial(operations.prepare, str(self.volume), SIZE, False, {"number": self.number}), calls)
        assert operations.clear_uncommitted(str(self.volume)) == ""

    # What must be true.

    def settle(self, payload: Content, group: int | None, former: str | None, before: dict[str, object]) -> None:
        """After an interrupted write."""
        self.adopt(payload, group, switched=self.link() != former)
        found = self.record()
        details, new = dict(found.details), dict[str, object](number=self.number)
        assert details in (before, new)
        if details == new:
            self.details = new

    def record(self) -> record.Record:
        root = os.open(self.volume, os.O_RDONLY | os.O_DIRECTORY)
        try:
            found = record.read(root)
            assert found is not None and found.mounted
            # What says that it describes the content was written with this content.
            if record.is_up_to_date(root, found):
                assert self.content is not None
            return found
        finally:
            os.close(root)

    def check_tidy(self) -> None:
        """Nothing is left of former writes."""
        link = self.link()
        assert self.content is not None and link is not None
        tops = {top(path) for path in (*self.content, *self.foreign)}
        assert entries_of(self.volume) == {layout.DATA, link, *tops}
        for path, (mode, _) in self.content.items():
            info = (self.volume / path).stat()
            readable = self.group is not None
            assert stat.S_IMODE(info.st_mode) == (mode | (mode & 0o400) >> 3 if readable else mode)
            assert info.st_gid == (os.getegid() if self.group is None else self.group)

    @invariant()
    def as_the_model_says(self) -> None:
        tally("steps of the volume machine")
        found = operations.inspect(str(self.volume))
        assert (found.mounted, found.foreign_mount) == (self.mounted, False)
        assert found.committed == (self.content is not None)
        if not self.mounted:
            assert not mount_points(self.volume) and not os.path.lexists(self.volume)
            return
        assert found.foreign_entries == bool(self.foreign)
        assert seen(self.volume) == self.expected()
        assert dict(self.record().details) == self.details


@contextmanager
def reading(volume: Path, before: dict[str, bytes], after: dict[str, bytes]) -> Iterator[None]:
    """A pod that reads meanwhile: whatever is there before and after is always there, and is one of both. A file may
    vanish between the look-up of its directory and its own; then it is there at the next try."""
    wrong: list[str] = []
    done = threading.Event()
    both = sorted(before.keys() & after.keys())

    def read(path: str) -> bytes | None:
        for _ in range(3):
            try:
                return (volume / path).read_bytes()
            except FileNotFoundError:
                continue
        return None

    def work() -> None:
        while not done.is_set():
            for path in both:
                data = read(path)
                if data not in (before[path], after[path]):
                    wrong.append(f"{path}: {data!r}")

    thread = threading.Thread(target=work)
    if both:
        thread.start()
    try:
        yield
    finally:
        done.set()
        if both:
            thread.join()
    assert not wrong, wrong


TestVolume = VolumeMachine.TestCase
TestVolume.settings = fuzzed(12, steps=25)
