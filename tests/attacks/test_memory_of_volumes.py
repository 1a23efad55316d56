"""Many volumes, each within its own limit, would use up the memory of the driver's container, to which the kernel
charges them: what does not fit is refused, and the driver lives."""

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from driver.volume import memory
from driver.volume.memory import MemoryBudget, Room
from driver.volume.payload import plan
from runtime.errors import ResourceExhausted
from tests.attacks.hostile_provider import Reply, hostile_provider, reply_with
from tests.driver.volume.support import file
from tests.support.cgroups import memory_cgroup
from tests.support.mounts import unmount_below
from tests.support.rig import rig

MIB = 1 << 20


class FakeCgroup:
    """The files of a container's memory cgroup, of either version."""

    def __init__(self, directory: Path, version: int, below: str = "") -> None:
        self.version = version
        self.root = directory if version == 2 else directory / "memory"
        self.directory = self.root / below
        self.directory.mkdir(parents=True, exist_ok=True)
        self.own = f"0::/{below}\n" if version == 2 else f"12:cpu:/x\n7:memory:/{below}\n0::/\n"
        self.set(200 * MIB, 50 * MIB)

    def set(self, limit: "int | str", used: int, cache: int = 0, directory: Path | None = None) -> None:
        """Write what the kernel would show; ``used`` includes ``cache``."""
        directory = directory or self.directory
        names = (
            ("memory.max", "memory.current")
            if self.version == 2
            else (
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
        )
        prefix = "" if self.version == 2 else "total_"
        (directory / names[0]).write_text(f"{limit}\n")
        (directory / names[1]).write_text(f"{used}\n")
        (directory / "memory.stat").write_text(f"anon 1\n{prefix}inactive_file {cache}\n{prefix}active_file 0\n")


@pytest.fixture(params=[1, 2])
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[FakeCgroup]:
    """A cgroup in which this process seems to be."""
    directory = tmp_path / "cgroup"
    found = FakeCgroup(directory, request.param, "kubepods/pod1/driver")
    own = tmp_path / "own"
    own.write_text(found.own)
    monkeypatch.setattr(memory, "CGROUPS", directory)
    monkeypatch.setattr(memory, "OWN", own)
    yield found


def refused(budget: MemoryBudget, size: int) -> str:
    try:
        with budget.reserve(size):
            return ""
    except ResourceExhausted as failure:
        return str(failure)


def test_room(cgroup: FakeCgroup) -> None:
    """Limits of the container and above it; page cache does not count; no limit → no room that is short."""
    cgroup.set(200 * MIB, 150 * MIB, cache=40 * MIB)
    assert memory.rooms() == [Room(200 * MIB, 110 * MIB)]
    cgroup.set(100 * MIB, 90 * MIB, directory=cgroup.directory.parent)
    assert memory.rooms() == [Room(200 * MIB, 110 * MIB), Room(100 * MIB, 90 * MIB)]
    cgroup.set("max" if cgroup.version == 2 else 2**63 - 4096, 90 * MIB, directory=cgroup.directory.parent)
    cgroup.set("max" if cgroup.version == 2 else 2**63 - 4096, 150 * MIB)
    assert memory.rooms() == []


def test_what_is_refused(cgroup: FakeCgroup) -> None:
    """A tenth of the limit stays free; 0 turns that off; what is being written by other threads counts."""
    cgroup.set(200 * MIB, 100 * MIB)
    budget = MemoryBudget(-1)
    assert refused(budget, 80 * MIB) == ""
    sentence = refused(budget, 80 * MIB + 1)
    assert "--memory-headroom" in sentence and "raise its memory limit" in sentence
    with budget.reserve(50 * MIB):
        assert refused(budget, 30 * MIB) == "" and refused(budget, 30 * MIB + 1)
    assert refused(budget, 80 * MIB) == ""
    assert refused(MemoryBudget(150 * MIB), 1) and refused(MemoryBudget(0), 1000 * MIB) == ""


@pytest.mark.parametrize("text", ["", "garbage", "0::/\x00", "7:memory:/../../..\n0::/"])
def test_unreadable_cgroups(cgroup: FakeCgroup, text: str) -> None:
    """The kernel says nothing that can be understood → nothing is refused, nothing fails."""
    memory.OWN.write_text(text)
    for path in cgroup.root.rglob("memory.*"):
        path.write_text("garbage")
    assert refused(MemoryBudget(-1), 1000 * MIB) == ""


def test_many_threads(cgroup: FakeCgroup) -> None:
    """Forty threads reserve 10 MiB each at once, and 80 MiB are left → no more than eight have it at a time."""
    cgroup.set(200 * MIB, 100 * MIB)
    budget, most, now, lock, barrier = MemoryBudget(-1), 0, 0, threading.Lock(), threading.Barrier(40)

    def work() -> None:
        nonlocal most, now
        barrier.wait()
        for _ in range(20):
            try:
                with budget.reserve(10 * MIB):
                    with lock:
                        now += 1
                        most = max(most, now)
                    with lock:
                        now -= 1
            except ResourceExhausted:
                pass

    threads = [threading.Thread(target=work) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= most <= 8


def test_pages_count() -> None:
    """A file of a byte takes a page, an empty one none."""
    page = os.sysconf("SC_PAGE_SIZE")
    files = [file("a", b"x"), file("d/b", b"x" * (page + 1)), file("d/c", b"")]
    assert memory.size_of(plan(files, readable_by_group=False)) == 3 * page


def test_pods_read_the_reason(tmp_path: Path, cgroup: FakeCgroup) -> None:
    """The container's memory is used up → RESOURCE_EXHAUSTED, nothing stays mounted; a mounted volume keeps its content
    through a refresh that does not fit; with room again, the retry succeeds."""
    replies: dict[str, Reply] = {"large": lambda _: reply_with({"f": b"x" * 3 * MIB}, {"f": "1"})}

    async def scenario() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=0.001) as it:
            it.write_class("large", provider="hostile", parameters={"reply": "large"})
            with hostile_provider(it.providers_dir, replies):
                old, new = it.volume("old", class_name="large"), it.volume("new", class_name="large")
                await old.publish()
                cgroup.set(200 * MIB, 178 * MIB)
                code, sentence = await new.failure()
                assert code is grpc.StatusCode.RESOURCE_EXHAUSTED and "--memory-headroom" in sentence
                assert not new.mounted
                await old.publish()
                assert old.read("f")[:1] == b"x"
                assert (
                    it.metric(
                        "rotation_reconcile_error_total",
                        provider="hostile",
                        error_type="FileWriteError",
                        rotated="true",
                    )
                    == 1
                )
                await it.volume("small").publish()
                cgroup.set(200 * MIB, 100 * MIB)
                await new.publish()
                assert new.read("f")[:1] == b"x"
                await it.driver.measure()
                total = it.driver.metrics.registry.get_sample_value("secrets_store_volumes_bytes")
                assert total is not None and 6 * MIB <= total < 7 * MIB

    asyncio.run(scenario())


FILL = """
import os, sys
from driver.volume import operations
from driver.volume.memory import MemoryBudget, rooms, size_of
from driver.volume.payload import File, plan
from runtime.errors import ResourceExhausted
pods, written = sys.argv[1], 0
assert rooms(), "no limit"
budget, refused = MemoryBudget(-1), 0
for number in range(80):
    target = f"{pods}/uid-{number}/volumes/kubernetes.io~csi/v/mount"
    os.makedirs(os.path.dirname(target))
    operations.prepare(target, 16 << 20, False, {})
    tree = plan([File("f", 0o400, os.urandom(1 << 20) * 3 + bytes(943718))], readable_by_group=False)
    try:
        with budget.reserve(size_of(tree)):
            operations.commit(target, tree, None, {})
        written += 1
    except ResourceExhausted:
        refused += 1
print(written, refused)
"""


def test_eighty_volumes_under_a_real_limit(tmp_path: Path) -> None:
    """80 volumes of 3.9 MiB under a limit of 128 MiB → some are written, the rest is refused, nothing is killed."""
    with memory_cgroup(128 * MIB) as cgroup:
        enter = f"open({str(cgroup.directory / 'cgroup.procs')!r}, 'w').write('0')\n"
        result = subprocess.run(
            [sys.executable, "-c", enter + FILL, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 0, result.stderr[-2000:]
        written, refused_ = map(int, result.stdout.split())
        print(f"{written} volumes were written and {refused_} refused under 128 MiB")
        assert written >= 10 and refused_ >= 40
        unmount_below(tmp_path)
