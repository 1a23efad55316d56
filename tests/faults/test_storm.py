"""The short storm: faults of all kinds, for half a minute. ``make test-faults`` runs the long one."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.storm import content, schedule
from tests.faults.storm.kinds import KINDS
from tests.faults.storm.storm import Options, run
from tests.support import needs

SEED = 1
SECONDS, PER_SECOND = 24.0, 2.5


@pytest.fixture
def _quiet() -> Iterator[None]:
    """Without the kubelet stub's thousands of lines."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.timeout(300)  # a minute for all to converge, and one for all pods to end, on a machine that may be busy
@pytest.mark.usefixtures("_quiet")
def test_storm(tmp_path: Path) -> None:
    """Pods come and go while processes are killed and stopped, the API server and the provider give wrong answers,
    files are removed, space and descriptors are short, and the clock jumps → no invariant is broken."""
    needs.root()
    summary = asyncio.run(run(tmp_path, Options(SEED, SECONDS, PER_SECOND, churned=160, patient=False)))
    print(summary.text())
    assert summary.violations == []
    assert summary.faults > SECONDS * PER_SECOND / 2
    assert summary.checks["publish: OK"] > 50, "hardly a volume was published: nothing was tested"
    assert summary.checks["volume whole and of one version"] > 50


def test_schedule_is_repeatable() -> None:
    """The same seed → the same steps, another one → others; a long run has every kind, and at least 1,000 faults."""
    long = schedule.make(1, 480, 2.5)
    assert long == schedule.make(1, 480, 2.5) != schedule.make(2, 480, 2.5)
    assert len(long) > 1000
    assert {step.kind for step in long} == set(KINDS)
    assert [step.at for step in long] == sorted(step.at for step in long)


def write_volume(target: Path, class_name: str, generation: int, canary: str = "C") -> None:
    """A volume as the driver lays it out."""
    for name in content.CLASSES[class_name]:
        path = target / "..data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.contents(canary, class_name, generation, name))
        link = target / name.split("/")[0]
        if not link.is_symlink():
            link.symlink_to(f"..data/{link.name}")


def test_reader_sees_what_is_wrong(tmp_path: Path) -> None:
    """A whole volume → its generation; a file of another generation, a cut one, an empty one, a missing one, another
    class's content → Unwhole."""
    write_volume(tmp_path, "plain", 7)
    password = tmp_path / "..data" / "password"
    whole = password.read_bytes()
    assert content.read_volume(tmp_path, "C", "plain") == 7
    others = [
        content.contents("C", "plain", 8, "password"),
        content.contents("C", "plain", 7, "nested/key"),
        content.contents("D", "plain", 7, "password"),
        whole[:-1],
        whole + b"x",
        b"",
    ]
    for other in others:
        password.write_bytes(other)
        with pytest.raises(content.Unwhole):
            content.read_volume(tmp_path, "C", "plain")
    password.unlink()
    with pytest.raises(content.Unwhole, match="cannot be read"):
        content.read_volume(tmp_path, "C", "plain")


def test_canary_is_found_in_each_encoding() -> None:
    """A canary amid other bytes, plain, in hex, in base64 at any alignment → one of its encodings is in the text."""
    import base64

    encodings = content.encodings("CANARY-0123456789")
    for before in range(7):
        for after in range(4):
            text = b"x" * before + b"CANARY-0123456789" + b"y" * after
            for shown in (text, text.hex().encode(), base64.b64encode(text)):
                assert any(encoding in shown for encoding in encodings), (before, after, shown)
    assert not any(encoding in b"CANARY-012345678" for encoding in encodings)
