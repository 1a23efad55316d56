"""``secrets-store validate``: what it finds in classes, pods and SecretSyncs, and how it says so."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from cli.main import main
from cli.validate import parameters
from provider_openbao import settings

ROOT = Path(__file__).resolve().parents[2]


def document(kind: str = "SecretProviderClass", name: str = "app", **spec: Any) -> dict[str, Any]:
    """An object; a class is one of Vault, unless ``spec`` says otherwise."""
    version = "secret-sync.x-k8s.io/v1alpha1" if kind == "SecretSync" else "secrets-store.csi.x-k8s.io/v1"
    if kind == "SecretProviderClass":
        objects = "- {objectName: password, secretPath: secret/data/db, secretKey: password}\n"
        spec = {"provider": "vault", "parameters": {"roleName": "app", "objects": objects}, **spec}
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def annotated(**annotations: str) -> dict[str, Any]:
    """A class with these annotations of the driver."""
    found = {f"secrets-store.csi.k8s.io/{name.replace('_', '-')}": text for name, text in annotations.items()}
    return {**document(), "metadata": {"name": "app", "annotations": found}}


def pod(attributes: dict[str, Any], kind: str = "Pod", **csi: Any) -> dict[str, Any]:
    """A pod, or a workload, with a volume of the driver."""
    volume = {"driver": "secrets-store.csi.k8s.io", "readOnly": True, "volumeAttributes": attributes, **csi}
    spec: dict[str, Any] = {"volumes": [{"name": "other", "emptyDir": {}}, {"name": "secrets", "csi": volume}]}
    if kind != "Pod":
        spec = {"template": {"spec": spec}}
    if kind == "CronJob":
        spec = {"jobTemplate": {"spec": spec}}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}


def sync(**fields: Any) -> dict[str, Any]:
    """A SecretSync of the class app."""
    secret = {"type": "Opaque", "data": [{"sourcePath": "password", "targetKey": "p"}], **fields}
    return document("SecretSync", secretProviderClassName="app", serviceAccountName="app", secretObject=secret)


def secret(**fields: Any) -> list[dict[str, Any]]:
    """One entry of spec.secretObjects."""
    return [{"secretName": "db", "type": "Opaque", "data": [{"objectName": "password", "key": "p"}], **fields}]


def run(tmp_path: Path, *documents: Any, options: tuple[str, ...] = ()) -> Result:
    """Validate these objects in one file."""
    (tmp_path / "a.yaml").write_text(yaml.safe_dump_all(documents, sort_keys=False))
    return CliRunner().invoke(main, ["validate", *options, str(tmp_path / "a.yaml")])


GOOD: dict[str, list[dict[str, Any]]] = {
    "class": [document(secretObjects=secret())],
    "outages": [annotated(share_fetch="30s", last_known_good="6h", restart_on_rotation="true")],
    "data from": [document(secretObjects=secret(data=[], dataFrom=[{"objectName": "password", "format": "json"}]))],
    "all": [document(secretObjects=secret(data=[], dataFrom=[{"all": True}]))],
    "composed": [
        document(
            files=[{"path": "a.env", "format": "dotenv", "objects": [{"objectName": "password", "key": "P"}]}],
            secretObjects=secret(data=[{"objectName": "a.env", "key": "env"}]),
        )
    ],
    "template": [
        document(files=[{"path": "u", "template": "x:${p|url}@h", "objects": [{"objectName": "password", "key": "p"}]}])
    ],
    "restarts": [annotated(restart_on_rotation="true", restart_min_interval="30m", refresh="1")],
    "unknown provider": [document(provider="ours", parameters={"x": "y"}, secretObjects=secret())],
    "unknown parameter": [document(parameters={"objects": "- {objectName: a, secretPath: b}", "brandNew": "x"})],
    "pod": [document(), pod({"secretProviderClass": "app"})],
    "cron job": [document(), pod({"secretProviderClass": "app"}, kind="CronJob")],
    "pod alone": [pod({"secretProviderClass": "elsewhere"})],
    "foreign volume": [pod({"secretProviderClass": 5}, driver="other.example.com")],
    "sync": [document(), sync()],
    "other kind": [{"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": 1}}],
    "list": [{"apiVersion": "v1", "kind": "List", "items": [document(), pod({"secretProviderClass": "app"})]}],
    "aws": [
        document(
            provider="aws",
            parameters={"objects": '- {objectName: "db/password", objectType: secretsmanager}'},
            secretObjects=secret(data=[{"objectName": "db_password", "key": "p"}]),
        )
    ],
    "azure": [
        document(
            provider="azure",
            parameters={"objects": "array:\n- |\n  objectName: a\n  objectType: secret\n  objectAlias: password\n"},
            secretObjects=secret(),
        )
    ],
    "gcp": [
        document(
            provider="gcp",
            parameters={"secrets": "- {resourceName: projects/p/secrets/s/versions/1, path: password}"},
            secretObjects=secret(),
        )
    ],
    "conjur": [document(provider="conjur", parameters={"account": "a", "applianceUrl": "https://c"})],
    "akeyless": [document(provider="akeyless", parameters={"objects": "- {secretPath: /a, fileName: password}"})],
}


@pytest.mark.parametrize("name", GOOD)
def test_good_files(name: str, tmp_path: Path) -> None:
    """What works → nothing on standard output, a summary on standard error, exit code 0."""
    result = run(tmp_path, *GOOD[name])
    assert (result.exit_code, result.stdout) == (0, ""), result.output
    assert result.stderr.endswith(": no problems\n")


TLS = "kubernetes.io/tls"
BAD: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no provider": ([document(provider="")], "spec.provider: it is missing: name the provider"),
    "parameter": ([document(parameters={"objets": "[]"})], "no such parameter: did you mean objects?"),
    "share-fetch": ([annotated(share_fetch="yes")], "secrets-store.csi.k8s.io/share-fetch: want a duration"),
    "share-fetch too long": ([annotated(share_fetch="1h")], "share-fetch: it must be at most 5m"),
    "last-known-good": ([annotated(last_known_good="6")], "last-known-good: want a duration such as 2m"),
    "last-known-good too long": ([annotated(last_known_good="1000h")], "last-known-good: it must be at most 168h"),
    "no objects": ([document(parameters={})], "spec.parameters.objects: it is missing: it is a YAML list"),
    "objects are text": ([document(parameters={"objects": "a"})], "spec.parameters.objects: it must be a YAML list"),
    "objects are empty": ([document(parameters={"objects": ""})], "spec.parameters.objects: it must be a YAML list"),
    "objects have a tab": ([document(parameters={"objects": "- a: b\n\tc: d"})], "spec.parameters.objects: not valid"),
    "object is text": ([document(parameters={"objects": "- a"})], "object 1: it must be a map: write objectName: …"),
    "object field": (
        [document(parameters={"objects": "- {objectName: a, secretPth: b}"})],
        "object 1: unknown field secretPth: did you mean secretPath?",
    ),
    "object without name": ([document(parameters={"objects": "- {secretPath: b}"})], "object 1: it has no objectName"),
    "two of a file": (
        [document(parameters={"objects": "- &a {objectName: a, secretPath: b}\n- *a"})],
        "object 2: its file a is already that of another object",
    ),
    "azure list": (
        [document(provider="azure", parameters={"objects": "- {objectName: a, objectType: secret}"})],
        "write `array:`, and below it each object",
    ),
    "azure field": (
        [document(provider="azure", parameters={"objects": "array: ['{a: b}']"})],
        "objects: object 1: unknown",
    ),
    "azure type": (
        [document(provider="azure", parameters={"objects": "array: ['{objectName: a, objectType: secrets}']"})],
        "objectType must be one of secret, key, cert: did you mean secret?",
    ),
    "secret name": ([document(secretObjects=secret(secretName="A_b"))], "secretObjects[0]: secretName must be a DNS"),
    "secret type": ([document(secretObjects=secret(type="helm.sh/release.v1"))], "type helm.sh/release.v1 is refused"),
    "secret without data": ([document(secretObjects=secret(data=[]))], "data is empty: list objectName and key"),
    "secret key": ([document(secretObjects=secret(data=[{"objectName": "password", "key": "a b"}]))], "key a b must"),
    "secret file": (
        [document(secretObjects=secret(data=[{"objectName": "pass", "key": "p"}]))],
        "file matching objectName pass not found in the pod's volume, which has: password",
    ),
    "data from": ([document(secretObjects=secret(dataFrom=[{"objectName": "password"}]))], "format is missing"),
    "data from file": (
        [document(secretObjects=secret(dataFrom=[{"objectName": "x", "format": "json"}]))],
        "dataFrom[0]: file matching objectName x not found; there are: password",
    ),
    "policy": ([document(secretObjects=secret(deletionPolicy="Never"))], "it must be one of WithPods, WithClass"),
    "tls keys": ([document(secretObjects=secret(type=TLS))], "needs the key tls.crt and the key tls.key"),
    "two secrets": ([document(secretObjects=secret() + secret())], "secretName db is listed twice"),
    "composed file": ([document(files=[{"path": "a"}])], "spec.files[0]: set either format (json, dotenv"),
    "composed path": (
        [document(files=[{"path": "../a", "format": "json", "objects": [{"objectName": "password", "key": "a"}]}])],
        "spec.files[0]: ",
    ),
    "template": (
        [document(files=[{"path": "a", "template": "${b}", "objects": [{"objectName": "password", "key": "a"}]}])],
        "template: b is no key of objects: a",
    ),
    "restart": ([annotated(restart_on_rotation="yes")], 'restart-on-rotation: it must be "true" or "false"'),
    "restart interval": (
        [annotated(restart_on_rotation="true", restart_min_interval="ten")],
        "metadata.annotations.secrets-store.csi.k8s.io/restart-min-interval: ",
    ),
    "restart interval alone": ([annotated(restart_min_interval="10m")], "has no effect without "),
    "class twice": ([document(), document()], "SecretProviderClass app is already in"),
    "no name": ([document(name="")], "metadata.name: it is missing"),
    "not read-only": ([pod({"secretProviderClass": "app"}, readOnly=False)], "csi.readOnly: the driver mounts"),
    "no class": ([pod({})], "volumeAttributes: it has no secretProviderClass: name the class"),
    "class attribute": ([pod({"secretProviderclas": "app"})], ": did you mean secretProviderClass?"),
    "class of a deployment": (
        [document(), pod({"secretProviderClass": "apps"}, kind="Deployment")],
        "spec.template.spec.volumes[1].csi.volumeAttributes.secretProviderClass: class apps is not in the "
        "files: did you mean app?",
    ),
    "class of a sync": ([document(name="database"), sync()], "secretProviderClassName: class app is not in the files"),
    "sync data": ([sync(data=None)], "it must be a list, and is empty"),
    "sync keys": ([sync(data=sync()["spec"]["secretObject"]["data"] * 2)], "targetKey p is listed twice"),
    "sync source": ([sync(dataFrom=[{"objectName": "x"}])], "set objectName and format, or all: true"),
    "sync field": ([document("SecretSync", secretProviderClassNam="x")], "did you mean secretProviderClassName?"),
}  # fmt: skip  # one line for each case


@pytest.mark.parametrize(
    "item, why",
    [
        ("{objectName: a, secretPath: db/creds/a, secretArgs: {ttl: 1h}}", "secretArgs"),
        ("{objectName: a, secretPath: pki/issue/a, method: PUT}", "method: PUT"),
        ("{objectName: a, secretPath: secret/data/a, secretKey: b}", ""),
    ],
)
def test_secrets_made_for_each_pod(tmp_path: Path, item: str, why: str) -> None:
    """Pods may share the content of a class, and an object shows that the store makes it for each pod → a warning; no
    word of it without the annotation, or about another object."""
    made = annotated(share_fetch="30s")
    made["spec"] = {"provider": "openbao", "parameters": {"roleName": "app", "objects": f"- {item}\n"}}
    result = run(tmp_path, made)
    assert result.exit_code == 0, result.output
    assert (f"object 1 (a) is made for each pod ({why}): pods would share one" in result.stdout) is bool(why)
    del made["metadata"]["annotations"]
    assert "made for each pod" not in run(tmp_path, made).stdout


def test_unknown_annotation(tmp_path: Path) -> None:
    """An annotation of the driver that it does not know → a warning with the one that was meant."""
    result = run(tmp_path, annotated(last_know_good="6h"))
    assert result.exit_code == 0
    assert "unknown annotation: did you mean secrets-store.csi.k8s.io/last-known-good?" in result.stdout


@pytest.mark.parametrize("name", BAD)
def test_mistakes(name: str, tmp_path: Path) -> None:
    """What does not work → a line with the field and the sentence, exit code 1."""
    documents, sentence = BAD[name]
    result = run(tmp_path, *documents)
    assert result.exit_code == 1 and sentence in result.stdout, result.output


def test_lines_within_a_text(tmp_path: Path) -> None:
    """A mistake in the YAML of the parameter objects → the line in the file, also for Azure's texts in a list."""
    (tmp_path / "a.yaml").write_text(
        "apiVersion: secrets-store.csi.x-k8s.io/v1\nkind: SecretProviderClass\nmetadata: {name: app}\nspec:\n"
        "  provider: azure\n  parameters:\n    objects: |\n      array:\n        - |\n          objectName: a\n"
        "          objectType: secret\n        - |\n          objectName: b\n          objectTyp: key\n"
    )
    result = CliRunner().invoke(main, ["validate", str(tmp_path)])
    assert "a.yaml:14: error: spec.parameters.objects: object 2: unknown field objectTyp" in result.stdout


def test_outputs(tmp_path: Path) -> None:
    """-o json is a list of objects; -o github are annotations, with what has a meaning there escaped."""
    bad = document(secretObjects=secret(data=[{"objectName": "50%", "key": "p"}]))
    (found,) = json.loads(run(tmp_path, bad, options=("-o", "json")).stdout)
    assert found["file"] == str(tmp_path / "a.yaml") and found["line"] > 1 and found["level"] == "error"
    assert found["field"] == "spec.secretObjects[0]" and "objectName 50% not found" in found["sentence"]
    line = run(tmp_path, bad, options=("-o", "github")).stdout
    assert line.startswith(f"::error file={tmp_path}/a.yaml,line={found['line']}::spec.secretObjects[0]: ")
    assert "objectName 50%25 not found" in line
    assert json.loads(run(tmp_path, document(), options=("-o", "json")).stdout) == []


def test_partial(tmp_path: Path) -> None:
    """With --partial a class may be elsewhere; one with a similar name is a warning, which is no failure."""
    documents = [document(), pod({"secretProviderClass": "elsewhere"})]
    assert run(tmp_path, *documents).exit_code == 1
    assert run(tmp_path, *documents, options=("--partial",)).output.endswith("no problems\n")
    similar = run(tmp_path, document(), pod({"secretProviderClass": "apps"}), options=("--partial",))
    assert similar.exit_code == 0 and "warning: " in similar.stdout and "did you mean app?" in similar.stdout


def test_standard_input_and_directories(tmp_path: Path) -> None:
    """A rendered chart from standard input; the files of a directory; a class and its pod in different files."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.yml").write_text(yaml.safe_dump(document()))
    (tmp_path / "sub" / "b.yaml").write_text(yaml.safe_dump(pod({"secretProviderClass": "app"})))
    assert CliRunner().invoke(main, ["validate", str(tmp_path)]).exit_code == 0
    text = yaml.safe_dump(document(provider="valt"))
    result = CliRunner().invoke(main, ["validate", "-"], input=text)
    assert result.exit_code == 1 and "<stdin>:" in result.stdout and "did you mean vault?" in result.stdout


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe", "it is not UTF-8 text"),
        (b"a: [", "not valid YAML"),
        (b"kind: {{ .Values.kind }}\n", "if it is a template of a chart, render it first: helm template"),
        (b"[" * 100_000, "nest"),
    ],
)
def test_unreadable_files(content: bytes, sentence: str, tmp_path: Path) -> None:
    """A file that is no YAML → a sentence, and the other files are checked all the same."""
    (tmp_path / "a.yaml").write_bytes(content)
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(document(provider="valt")))
    result = CliRunner().invoke(main, ["validate", str(tmp_path)])
    assert result.exit_code == 1 and sentence in result.stdout and "did you mean vault?" in result.stdout


@pytest.mark.parametrize(
    "content", ["", "# nothing\n", "---\n---\n", "text", "- list", "kind: [a]", "spec: 5", "kind: List"]
)
def test_files_with_nothing_to_check(content: str, tmp_path: Path) -> None:
    """Files without an object of ours → exit code 0, and a summary that says so."""
    (tmp_path / "a.yaml").write_text(content)
    result = CliRunner().invoke(main, ["validate", str(tmp_path / "a.yaml")])
    assert result.exit_code == 0 and "1 file with nothing to check: no problems" in result.stderr


@pytest.mark.parametrize("arguments", [[], ["/no/such/file"], ["-o", "xml", "."], ["--no-such-option", "."]])
def test_usage(arguments: list[str]) -> None:
    """A wrong command line → exit code 2, and a sentence."""
    result = CliRunner().invoke(main, ["validate", *arguments])
    assert result.exit_code == 2 and "Error: " in result.stderr


def test_colours_are_for_terminals(tmp_path: Path) -> None:
    """Without a terminal there is no escape sequence; with one there is."""
    path = tmp_path / "a.yaml"
    path.write_text(yaml.safe_dump(document(provider="valt")))
    plain, coloured = (CliRunner().invoke(main, ["validate", str(path)], color=color).stdout for color in (False, True))
    assert "\x1b" not in plain and "\x1b[31m" in coloured


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The completion for each shell names the command and the variable that it sets."""
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == 0 and "_SECRETS_STORE_COMPLETE" in result.stdout and "secrets-store" in result.stdout


def test_the_data_file() -> None:
    """Each known provider's fields agree with each other."""
    assert {"vault", "azure", "gcp", "aws", "akeyless", "conjur", "openbao", "stub"} <= parameters.providers().keys()
    for name, provider in parameters.providers().items():
        assert {*provider.required, *provider.file, *provider.values, *provider.expands} <= {*provider.fields}, name
        assert provider.list_parameter in ("", *provider.parameters), name
    assert {*settings.KNOWN} <= {*parameters.providers()["openbao"].parameters}


def test_the_projects_own_examples() -> None:
    """The static manifests, as a process of its own → no problem."""
    command = [sys.executable, "-m", "cli", "validate", "deploy"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
