"""Twelve mistakes that people make, and more of their kinds: ``validate`` and a running driver say what to write."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import pytest
from click.testing import CliRunner

from cli.main import main
from driver.ports import INTERVAL_ANNOTATION
from tests.support.rig import Volume, rig

CLASS = """\
apiVersion: secrets-store.csi.x-k8s.io/v1
kind: SecretProviderClass
metadata:
  name: app
  namespace: default
spec:
  provider: stub
  parameters:
    objects: |
      - objectName: password
"""
POD = """\
apiVersion: v1
kind: Pod
metadata: {name: pod-1, namespace: default}
spec:
  volumes:
    - name: secrets
      csi:
        driver: secrets-store.csi.k8s.io
        readOnly: true
        volumeAttributes: {secretProviderClass: app}
"""
LAST = "password\n"
FILES = "  files: [{path: app.env, format: dotenv, objects: [{objectName: NAME, key: PASSWORD}]}]\n"


@dataclass(frozen=True)
class Mistake:
    """``before`` becomes ``after`` in the class; what validate says in which line, and what the driver says. An empty
    sentence: it cannot know."""

    before: str
    after: str
    line: int
    validate: str
    driver: str

    @property
    def text(self) -> str:
        """The class with the mistake."""
        return CLASS.replace(self.before, self.after, 1)


LIST = "it must be a string, and is a list: write `objects: |` and indent the lines below it further"
MISTAKES = {
    "provider": Mistake(
        "stub\n", "stubb\n", 7, "unknown provider stubb: did you mean stub?", "there are: stub; correct"
    ),
    "list": Mistake("objects: |", "objects:", 9, LIST, LIST),
    "secret": Mistake("password", "passwd", 0, "", "passwd"),
    "tab": Mistake("  provider", "\tprovider", 7, "a tab in the indentation", "a tab in the indentation"),
    "parameters": Mistake(
        "parameters", "parametres", 8, "unknown field: did you mean parameters?", "did you mean parameters?"
    ),
    "outside": Mistake(
        "  parameters", "  roleName: app\n  parameters", 8, "indent it below spec.parameters", "below spec.parameters"
    ),
    "apiVersion": Mistake(
        "io/v1", "io/v1beta1", 1, "write secrets-store.csi.x-k8s.io/v1", "write secrets-store.csi.x-"
    ),
    "duplicate": Mistake(
        "  parameters", "  provider: x\n  parameters", 8, "the key provider is already in line 7", "already in line 7"
    ),
    "kind": Mistake("Class", "Clas", 2, "did you mean SecretProviderClass?", "did you mean SecretProviderClass?"),
    "namespace": Mistake(
        "default",
        "other",
        21,
        "class app is in namespace other, and this Pod in default",
        "one in namespace other",
    ),
    "interval": Mistake(
        "default",
        f"default\n  annotations: {{{INTERVAL_ANNOTATION}: 5 minutes}}",
        6,
        "a duration such as 2m",
        "a duration such as 2m",
    ),
    "objectName": Mistake(
        LAST,
        LAST + FILES.replace("NAME", "pasword"),
        11,
        "file matching objectName pasword not found in the provider's reply, which has: password",
        "file matching objectName pasword not found in the provider's reply, which has: password",
    ),
}


def same(before: str, after: str, line: int, sentence: str) -> Mistake:
    """Both say the same."""
    return Mistake(before, after, line, sentence, sentence)


SECRETS = "  secretObjects:\n    - {secretName: x, type: Opaque, "
WANTED = "want a duration such as 2m"
ALIGN = "align it with the lines of the same level"
# More of each kind, and of those that were once found.
NEIGHBOURS = {
    "provider: capital letter": Mistake("stub\n", "Stub\n", 7, "did you mean stub?", "there are: stub; correct"),
    "provider: spaces": Mistake(
        "stub\n", '"stub "\n', 7, "did you mean stub?", "no spaces; on this node there are: stub"
    ),
    "provider: path": Mistake("stub\n", "../stub\n", 7, "did you mean stub?", "on this node there are: stub"),
    "provider: missing": Mistake("  provider: stub\n", "", 6, "name the provider", "set spec.provider"),
    "provider: number": same("stub\n", "5\n", 7, "it must be a string, and is a number: put it in quotes"),
    "list: map": same("objects: |", "objects: {a: b}\n    x: |", 9, LIST.replace("a list", "a map")),
    "list: number": same("objects: |", "ttl: 5\n    objects: |", 9, "and is a number: put it in quotes"),
    "list: boolean": same("objects: |", "x: yes\n    objects: |", 9, "and is true or false: put it in quotes"),
    "list: without -": same("- objectName", "objectName", 9, "begin each object with `- `"),
    "list: empty": Mistake(
        "objects: |\n      - objectName: password", "objects: ''", 9, "a YAML list: begin", "set it in spec.parameters"
    ),
    "list: missing": Mistake("objects: |", "x: |", 8, "it is missing", "the parameter objects is missing: set it"),
    "tab: after the dash": same(
        "- objectName", "-\tobjectName", 10, "a tab in the indentation: replace it with spaces"
    ),
    "tab: within the list": same(
        LAST, LAST + "      \tfilePermission: '0400'\n", 11, "a tab in the indentation: replace it with spaces"
    ),
    "tab: at the end of a map": same("  provider: stub", "  provider: stub\n\tx: y", 8, "a tab in the indentation"),
    "parameters: singular": same("parameters", "parameter", 8, "did you mean parameters?"),
    "parameters: capital letter": same("parameters", "Parameters", 8, "did you mean parameters?"),
    "parameters: abbreviated": same("parameters", "params", 8, "did you mean parameters?"),
    "outside: the list": same(
        "  parameters:\n    objects", "  objects", 8, "indent it below spec.parameters, as param"
    ),
    "outside: all parameters": same(
        "  parameters:\n  ", "parameters:\n", 8, "indent it below spec, as spec.parameters"
    ),
    "outside: metadata": same(
        "metadata:\n  name: app\n  ", "name: app\n", 3, "indent it below metadata, as metadata.n"
    ),
    "apiVersion: without group": same("secrets-store.csi.x-k8s.io/v1", "v1", 1, "write secrets-store.csi.x-k8s.io/v1"),
    "apiVersion: group": same("x-k8s.io", "xk8s.io", 1, "write secrets-store.csi.x-k8s.io/v1"),
    "apiVersion: missing": same(CLASS.splitlines()[0] + "\n", "", 1, "write secrets-store.csi.x-k8s.io/v1"),
    "duplicate: name": same("  name: app", "  name: app\n  name: app", 5, "the key name is already in line 4"),
    "duplicate: parameter": same(LAST, LAST + "    objects: x\n", 11, "the key objects is already in line 9"),
    "duplicate: within the list": same(LAST, LAST + "        objectName: user\n", 11, "the key objectName is already"),
    "kind: lower case": same("SecretProviderClass", "secretproviderclass", 2, "did you mean SecretProviderClass?"),
    "kind: plural": same("SecretProviderClass", "SecretProviderClasses", 2, "did you mean SecretProviderClass?"),
    "kind: missing": same("kind: SecretProviderClass\n", "", 1, "kind: it is missing: write SecretProviderClass or"),
    "name: another": Mistake(
        "name: app", "name: apps", 21, "class app is not in the files: did you mean apps?", "did you mean apps?"
    ),
    "name: number": same("name: app", "name: 5", 4, "it must be a string, and is a number: put it in quotes"),
    "name: missing": same("  name: app\n", "", 3, "it is missing: write name: …"),
    **{
        f"interval: {value}": Mistake(
            "default", f"default\n  annotations: {{{INTERVAL_ANNOTATION}: {value}}}", 6, sentence, sentence
        )
        for value, sentence in (
            ("'5'", WANTED),
            ("5 min", WANTED),
            ("1d", WANTED),
            ("-5m", "it must be at least 1s"),
            ("5", "it must be a string, and is a number: put it in quotes"),
        )
    },
    "objectName: capital letter": same(LAST, LAST + FILES.replace("NAME", "Password"), 11, "which has: password"),
    "objectName: field": Mistake("objectName", "objectname", 10, "did you mean objectName?", "has no objectName"),
    "objectName: no map": Mistake(
        "objectName: ", "", 10, "it must be a map: write objectName: …", "with at least objectN"
    ),
    "secretObjects: map": same(
        LAST, LAST + "  secretObjects: {a: b}\n", 11, "a list, and is a map: begin each item with"
    ),
    "data: texts": same(
        LAST, LAST + f"{SECRETS}data: [x]}}\n", 12, "it must be a map, and is a text: write objectName:"
    ),
    "data: map": same(LAST, LAST + f"{SECRETS}data: {{a: b}}}}\n", 12, "must be a list, and is a map: begin each item"),
    "a field of data": same(LAST, LAST + f"{SECRETS}data: [{{objectname: a, key: b}}]}}\n", 12, "did you mean objectN"),
    "spec: list": same(
        "provider: stub\n  parameters:\n    objects: |\n      ", "", 6, "it must be a map, and is a list"
    ),
    "YAML: second colon": same("stub\n", "stub: x\n", 7, "put the value in quotes"),
    "YAML: indentation": same("  parameters", "   parameters", 8, ALIGN),
    "YAML: quotation mark": same("stub\n", "'stub\n", 7, "a quotation mark is never closed"),
    "YAML: bracket": same("name: app", "labels: {a: b\n  name: app", 5, "a bracket is never closed, or a comma is"),
    "YAML: reserved sign": same("stub\n", "@stub\n", 7, "put it in quotes"),
    "YAML: colon missing": same("  provider: stub", "  provider", 8, "a colon where none may be"),
    "YAML: template": same("stub\n", "{{ .Values.x }}\n", 7, "render it first: helm template"),
    "YAML: control character": Mistake(
        "stub\n", "st\x01ub\n", 0, "control characters: remove them", "control characters:"
    ),
    "YAML: not UTF-8": Mistake("stub\n", "st\udcfcb\n", 0, "save it as UTF-8", "save it as UTF-8"),
}
ALL = {**MISTAKES, **NEIGHBOURS}


def write(path: Path, text: str) -> None:
    """A text in which \\udcXX stands for the byte XX, which is no UTF-8."""
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


@pytest.mark.parametrize("name", ALL)
def test_validate(name: str, tmp_path: Path) -> None:
    """A class with the mistake and a pod that uses it → the line, the sentence, exit code 1; without it 0."""
    mistake = ALL[name]
    assert mistake.before in CLASS
    for text, code in ((CLASS, 0), (mistake.text, 1 if mistake.validate else 0)):
        write(tmp_path / "app.yaml", f"{text}---\n{POD}")
        result = CliRunner().invoke(main, ["validate", str(tmp_path / "app.yaml")])
        assert result.exit_code == code, result.output
    assert mistake.validate in result.stdout
    place = f"app.yaml:{mistake.line}: error: " if mistake.line else "app.yaml: error: "
    assert not code or place in result.stdout, result.stdout


# An event about an interval is sent once for a class: each in a driver of its own.
@pytest.mark.parametrize(
    "names", [[name for name in ALL if "interval" not in name], *([name] for name in ALL if "interval" in name)]
)
def test_the_running_driver(names: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pod whose class has the mistake → the publish fails with the sentence; for the interval an event has it. The
    mistake is corrected → the next publish succeeds."""

    async def run() -> None:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            for path in it.manifests.glob("*.yaml"):
                path.unlink()
            for number, name in enumerate(names):
                caplog.clear()
                write(it.manifests / "app.yaml", ALL[name].text)
                volume = it.volume(f"pod-{number}")
                said = await outcome(volume)
                said += "\n".join(str(getattr(item, "fields", "")) for item in caplog.records)
                assert ALL[name].driver in said, (name, said)
                write(it.manifests / "app.yaml", CLASS)
                await volume.publish()

    asyncio.run(run())


async def outcome(volume: Volume) -> str:
    """What kubelet is told; the interval of a class counts from the second publish on."""
    try:
        for _ in range(2):
            await volume.publish()
    except grpc.aio.AioRpcError as error:
        return error.details() or ""
    return ""
