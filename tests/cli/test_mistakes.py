"""Twelve mistakes that people make: ``validate`` and a running driver both say what to write."""

import asyncio
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from driver.ports import INTERVAL_ANNOTATION
from tests.support.rig import rig

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
        CLASS[-2:],
        CLASS[-2:] + FILES.replace("NAME", "pasword"),
        11,
        "file matching objectName pasword not found in the provider's reply, which has: password",
        "file matching objectName pasword not found in the provider's reply, which has: password",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_validate(name: str, tmp_path: Path) -> None:
    """A class with the mistake and a pod that uses it → the line, the sentence, exit code 1; without it 0."""
    mistake = MISTAKES[name]
    assert mistake.before in CLASS
    for text, code in ((CLASS, 0), (CLASS.replace(mistake.before, mistake.after, 1), 1 if mistake.validate else 0)):
        (tmp_path / "app.yaml").write_text(f"{text}---\n{POD}")
        result = CliRunner().invoke(main, ["validate", str(tmp_path / "app.yaml")])
        assert result.exit_code == code, result.output
    assert mistake.validate in result.stdout
    assert not code or f"app.yaml:{mistake.line}: error: " in result.stdout, result.stdout


@pytest.mark.parametrize("name", MISTAKES)
def test_the_running_driver(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A pod whose class has the mistake → the publish fails with the sentence; for the interval an event has it."""
    mistake = MISTAKES[name]

    async def run() -> str:
        async with rig(tmp_path, enable_secret_rotation=True) as it:
            for path in it.manifests.glob("*.yaml"):
                path.unlink()
            (it.manifests / "app.yaml").write_text(CLASS.replace(mistake.before, mistake.after, 1))
            if name == "interval":
                for _ in range(2):  # the interval counts from the second publish on
                    await it.volume().publish()
                return "\n".join(str(getattr(item, "fields", "")) for item in caplog.records)
            return (await it.volume().failure())[1]

    assert mistake.driver in asyncio.run(run())
