"""A directory of YAML files instead of an API server: what is kept there, and what a restart restores from it."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from driver.manifests import Manifests
from driver.ports import ClassRef, Pod, RefreshFailure, VolumeRecord
from runtime.errors import NotFound, PreconditionFailed
from tests.support.rig import Rig, Volume, rig

TARGET = "/pods/uid/volumes/kubernetes.io~csi/secrets/mount"
FAILURE = RefreshFailure("GRPCProviderError", "no", 3, 2000.0)
RECORD = VolumeRecord(Pod("ns", "pod", "uid"), ClassRef("ns", "app"), "secrets", TARGET, {"a": "1"}, 1000.0, FAILURE)


def status_file(directory: Path) -> Path:
    """The one pod status."""
    (path,) = (directory / "podstatuses").glob("*.yaml")
    return path


@pytest.mark.parametrize("fields", [{}, {"failure": None}, {"last_refresh": None}, {"objects": {}}])
def test_records_survive_a_restart(tmp_path: Path, fields: dict[str, Any]) -> None:
    """A record is read as it was written: last refresh and failure too."""
    record = replace(RECORD, **fields)

    async def run() -> None:
        await Manifests(str(tmp_path)).record(record)
        assert [found for found, _ in await Manifests(str(tmp_path)).records([record.target_path])] == [record]

    asyncio.run(run())


def test_a_file_of_an_earlier_version(tmp_path: Path) -> None:
    """Earlier versions wrote another form of time, a failure without time, and no conditions."""
    (tmp_path / "podstatuses").mkdir()
    document = {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": "SecretProviderClassPodStatus",
        "metadata": {
            "namespace": "ns",
            "name": "pod-ns-app",
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "pod", "uid": "uid"}],
        },
        "status": {
            "podName": "pod",
            "secretProviderClassName": "app",
            "mounted": True,
            "targetPath": TARGET,
            "objects": [{"id": "a", "version": "1"}],
            "lastRefresh": "1970-01-01T00:16:40+00:00",
            "lastFailure": {"reason": "GRPCProviderError", "message": "no", "count": 3},
        },
    }
    (tmp_path / "podstatuses" / "uid.secrets.yaml").write_text(yaml.safe_dump(document))

    async def run() -> None:
        assert [found for found, _ in await Manifests(str(tmp_path)).records([RECORD.target_path])] == [
            replace(RECORD, failure=replace(FAILURE, time=0.0))
        ]

    asyncio.run(run())


def test_files_that_are_not_statuses_are_ignored(tmp_path: Path) -> None:
    """What else lies among the pod statuses is left as it is, and keeps no other from being read."""
    manifests = Manifests(str(tmp_path))
    foreign = {"a.yaml": "text", "b.yaml": "[]", "c.yaml": "{}", "d.yaml": "status: {targetPath: 5}", "e.yaml": ""}
    foreign |= {"f.yaml": "[", "g.yaml": "a: 2001-02-30", "h.yaml": "[" * 100_000, "i.yaml": "\0"}

    async def run() -> None:
        await manifests.record(RECORD)
        for name, content in foreign.items():
            (tmp_path / "podstatuses" / name).write_text(content)
        assert [found for found, _ in await manifests.records([RECORD.target_path])] == [RECORD]
        assert {name: (tmp_path / "podstatuses" / name).read_text() for name in foreign} == foreign

    asyncio.run(run())


@pytest.mark.parametrize("content", ["", "text", "[", "{}", "status: {conditions: 5}"])
def test_a_damaged_status_is_replaced(tmp_path: Path, content: str) -> None:
    """Whatever became of the file, the next record is written."""
    manifests = Manifests(str(tmp_path))

    async def run() -> None:
        await manifests.record(RECORD)
        status_file(tmp_path).write_text(content)
        await manifests.record(RECORD)
        assert [found for found, _ in await manifests.records([RECORD.target_path])] == [RECORD]

    asyncio.run(run())


def test_an_unchanged_record_is_not_written(tmp_path: Path) -> None:
    """The file stays the same one until something in it changes."""
    manifests = Manifests(str(tmp_path))

    async def run() -> None:
        await manifests.record(RECORD)
        before = status_file(tmp_path).stat().st_ino
        await manifests.record(RECORD)
        assert status_file(tmp_path).stat().st_ino == before
        await manifests.record(replace(RECORD, last_refresh=1001.0))
        assert status_file(tmp_path).stat().st_ino != before

    asyncio.run(run())


def state(it: Rig, volume: Volume) -> tuple[int, float | None]:
    """The failures in a row and the time of the last refresh that the driver knows."""
    found = it.driver.volumes.get(str(volume.target))
    assert found is not None
    found.retry_at = 0.0
    return found.failure.count if found.failure else 0, found.last_refresh


def test_failures_are_counted_on_after_a_restart(tmp_path: Path) -> None:
    """Two refreshes fail, the driver restarts, the next one fails too: it is the third in a row, the pod status says so
    and since when, and a success ends it."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True, rotation_poll_interval=0.001) as it:
            volume = it.volume()
            await volume.publish()
            _, last_refresh = state(it, volume)
            it.provider.remove("password")
            for expected in (1, 2):
                await volume.publish()
                assert state(it, volume)[0] == expected
            await it.restart()
            count, restored = state(it, volume)
            assert count == 2 and restored == pytest.approx(last_refresh, abs=1.0)
            await volume.publish()
            status = yaml.safe_load(status_file(it.manifests).read_text())["status"]
            assert status["lastFailure"]["count"] == state(it, volume)[0] == 3
            it.provider.put("password", "new")
            await volume.publish()
            assert "lastFailure" not in yaml.safe_load(status_file(it.manifests).read_text())["status"]
            assert state(it, volume)[0] == 0 and volume.read() == b"new"

    asyncio.run(run())


CLASS = """\
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata: {name: NAME, namespace: ns}
spec: {provider: stub, parameters: {objects: x}}
"""


def bomb(start: str, width: int = 10, depth: int = 12) -> str:
    """A class in which ``start`` is an alias of an alias of …"""
    levels = [f"x0: &a0 [{', '.join(['y'] * width)}]"]
    levels += [f"x{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(levels) + "\n" + CLASS.replace(start.partition("=>")[0], start.partition("=>")[2])


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "content",
    [
        bomb("NAME=>*a11"),
        bomb("provider: stub=>provider: *a11"),
        bomb("objects: x=>objects: *a11"),
        bomb("kind: SecretProviderClass=>kind: *a11"),
        bomb("NAME=>app", depth=7),
        CLASS.replace("NAME", "&a [*a]"),
        CLASS.replace("objects: x", "objects: &a {b: *a}"),
        "[" * 100_000,
        "{a: " * 100_000,
    ],
    ids=["name", "provider", "parameter", "kind", "beside", "itself", "map-of-itself", "lists", "maps"],
)
def test_a_bomb_is_refused(tmp_path: Path, content: str) -> None:
    """Scenario: a file whose aliases stand for millions of values, or that is nested without end, beside a good one.
    Expected: an error at once that names the file; the class in the good file is found."""
    (tmp_path / "a.yaml").write_text(content)
    (tmp_path / "b.yaml").write_text(CLASS.replace("NAME", "good"))
    manifests = Manifests(str(tmp_path))
    with pytest.raises(PreconditionFailed, match="a.yaml"):
        asyncio.run(manifests.get_class(ClassRef("ns", "missing")))
    assert asyncio.run(manifests.get_class(ClassRef("ns", "good"))).provider == "stub"


@pytest.mark.parametrize("content", ["\t- x", "a: b: c", b"\xff\xfe\x00", CLASS.replace("NAME", "[1]") + "spec: 3"])
def test_a_broken_file_fails_its_own_classes_only(tmp_path: Path, content: str | bytes) -> None:
    """Scenario: a file that is not valid YAML, or not a class, sorts before a good one. Expected: the good class is
    found; for one that is nowhere the error names the broken file."""
    (tmp_path / "a.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    (tmp_path / "b.yaml").write_text(CLASS.replace("NAME", "good"))
    manifests = Manifests(str(tmp_path))
    assert asyncio.run(manifests.get_class(ClassRef("ns", "good"))).provider == "stub"
    with pytest.raises(PreconditionFailed, match="a.yaml"):
        asyncio.run(manifests.get_class(ClassRef("ns", "elsewhere")))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("x: 2001-02-30", "timestamp"),
        ("x: 9999-99-99T99:99:99Z", "timestamp"),
        ("x: !!timestamp soon", "timestamp"),
        ("x: !!int one", "int"),
        ("x: !!float one", "float"),
        ("x: !!bool maybe", "bool"),
        ("x:\n- y: {z: !!int one}", "int"),
        ("? 2001-02-30\n: x", "timestamp"),
    ],
)
def test_a_value_of_another_type(tmp_path: Path, line: str, kind: str) -> None:
    """Scenario: a value looks like a date, or is tagged as a number, and is none, in a file beside a good one.
    Expected: the class in the good file is found; the error for others names the file, the line and the type."""
    (tmp_path / "a.yaml").write_text(f"# one\n{line}\n")
    (tmp_path / "b.yaml").write_text(CLASS.replace("NAME", "good"))
    manifests = Manifests(str(tmp_path))
    assert asyncio.run(manifests.get_class(ClassRef("ns", "good"))).provider == "stub"
    with pytest.raises(PreconditionFailed, match=rf"a.yaml line [23]: not valid YAML: .* as {kind}: .* in quotes"):
        asyncio.run(manifests.get_class(ClassRef("ns", "elsewhere")))


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("namespace: ns", "namespace: {a: b}", "line 3: metadata.namespace: it must be a string, and is a map"),
        ("namespace: ns", "namespace: 2001", "line 3: metadata.namespace: it must be a string, and is a number: put"),
        (
            "name: app",
            "name: 2001-01-01",
            "line 3: metadata.name: it must be a string, and is a date: put it in quotes",
        ),
        ("provider: stub", "provider: [stub]", "line 4: spec.provider: it must be a string, and is a list"),
        ("objects: x", "objects: 1", "spec.parameters.objects: it must be a string, and is a number: put it in quotes"),
        ("objects: x", "objects: null", "spec.parameters.objects: it must be a string, and is empty"),
        ("objects: x", "objects: [x]", r"spec.parameters.objects: .* is a list: write `objects: \|` and indent"),
        ("objects: x", "1: x", "spec.parameters.1: the name of a field must be a text: put it in quotes"),
        ("provider: stub", "secretObjects: text", "spec.secretObjects: it must be a list, and is a text: begin each"),
        ("provider: stub", "secretObjects: {a: b}", "spec.secretObjects: it must be a list, and is a map: begin each"),
        ("provider: stub", "secretObjects: [x]", r"spec.secretObjects\[0\]: it must be a map, .*: write secretName: …"),
        ("provider: stub", "secretObjects: [{data: {a: b}}]", r"secretObjects\[0\].data: it must be a list"),
        (
            "provider: stub",
            "secretObjects: [{data: [x]}]",
            r"data\[0\]: it must be a map, and is a text: write objectN",
        ),
        ("provider: stub", "secretObjects: [{secretName: 5}]", "secretName: it must be a string"),
        ("provider: stub", "secretObjects: [{data: [{key: 5}]}]", "key: it must be a string"),
        ("provider: stub", "files: [{format: yaml}]", "format: it must be one of json, dotenv, properties"),
        ("parameters:", "parametrs:", "spec.parametrs: unknown field: did you mean parameters?"),
        ("provider: stub", "roleName: app", "spec.roleName: unknown field: if it is a parameter .* spec.parameters"),
        ("spec: {provider: stub, ", "provider: stub\nspec: {", "line 4: provider: unknown field: indent it below spec"),
        ("x-k8s.io/v1", "x-k8s.io/v1beta1", "line 1: apiVersion: unknown apiVersion: write secrets-store.*x-k8s.io/v1"),
        ("namespace: ns", "namespace: ns, name: app", "line 3: not valid YAML: the key name is already in line 3"),
        ("kind: Secret", "\tkind: Secret", "line 2: not valid YAML: a tab in the indentation: replace it with spaces"),
        ("ProviderClass", "ProvideClass", "kind: unknown kind SecretProvideClass: did you mean SecretProviderClass?"),
    ],
)
def test_a_mistake_of_the_author(tmp_path: Path, before: str, after: str, sentence: str) -> None:
    """Scenario: a class that an API server, or kubectl, would refuse. Expected: the error says where, and what to
    write."""
    good = CLASS.replace("NAME", "app")
    assert before in good
    (tmp_path / "a.yaml").write_text(good.replace(before, after, 1))
    with pytest.raises((PreconditionFailed, NotFound), match=f"a.yaml (line [234]: )?.*{sentence}"):
        asyncio.run(Manifests(str(tmp_path)).get_class(ClassRef("ns", "app")))


@pytest.mark.parametrize("mistake", ["parameters: 1", "unknown: x", "provider: [a]"])
def test_a_mistake_in_another_class_of_the_file(tmp_path: Path, mistake: str) -> None:
    """Scenario: one file with a class that is refused, before a good one. Expected: the good one is found."""
    bad = CLASS.replace("NAME", "bad").partition("spec:")[0] + f"spec: {{{mistake}}}\n"
    (tmp_path / "a.yaml").write_text(f"{bad}---\n{CLASS.replace('NAME', 'good')}")
    manifests = Manifests(str(tmp_path))
    assert asyncio.run(manifests.get_class(ClassRef("ns", "good"))).provider == "stub"
    with pytest.raises(PreconditionFailed):
        asyncio.run(manifests.get_class(ClassRef("ns", "bad")))


@pytest.mark.parametrize(
    ("wanted", "hint"),
    [
        (ClassRef("other", "app"), "not found in .*: there is one in namespace ns, and .* namespace of its pod: other"),
        (ClassRef("ns", "apps"), r"not found in .*: did you mean app\?"),
        (ClassRef("ns", "database"), "not found in the YAML files of [^:]*$"),
    ],
)
def test_why_a_class_is_not_found(tmp_path: Path, wanted: ClassRef, hint: str) -> None:
    """A class of this name in another namespace, or one of a similar name, is named."""
    (tmp_path / "a.yaml").write_text(CLASS.replace("NAME", "app"))
    with pytest.raises(NotFound, match=hint):
        asyncio.run(Manifests(str(tmp_path)).get_class(wanted))


def test_ordinary_aliases_are_fine(tmp_path: Path) -> None:
    """Scenario: a class that uses an anchor and a merge key. Expected: it is read."""
    text = CLASS.replace("{objects: x}", "{<<: *p}").replace("name: NAME", "name: app, labels: &p {objects: x}")
    (tmp_path / "a.yaml").write_text(text)
    assert asyncio.run(Manifests(str(tmp_path)).get_class(ClassRef("ns", "app"))).parameters == {"objects": "x"}
