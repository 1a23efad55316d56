"""``secrets-store validate`` with objects and texts that nobody would write: sentences, and never an exception."""

from typing import Any

import pytest
import yaml

from cli.validate import parameters
from cli.validate.files import Files, Source
from tests.cli.test_validate import document, pod
from tests.driver.manifests.test_schema import GOOD, mutants

OBJECTS: dict[str, Any] = {
    **GOOD,
    "CronJob": pod({"secretProviderClass": "app"}, kind="CronJob"),
    "List": {"apiVersion": "v1", "kind": "List", "items": [document()]},
}
TEXTS = [
    "", "a", "- a", "- {a: b}", "array: 5", "array: [5, null, [a], {b: c}]", "array: ['[']", "- {1: 2}", "[", "\t",
    "- &a [*a]", "array: ['- a', '5', '']", "- {objectName: [a], secretPath: {b: c}, objectType: [x]}", "- {? [a]: b}",
    '{array: ["{1: 2, objectName: a}"]}', "- {resourceName: 5, path: [a]}",
]  # fmt: skip  # a line for each would hide the list


def findings(item: Any) -> None:
    """Check an object beside a good class: each finding has a line of the file, and a sentence."""
    text = yaml.safe_dump(item)
    files = Files([Source("a", text.encode()), Source("b", yaml.safe_dump(document()).encode())])
    for found in files.check(partial=False):
        assert found.sentence and 0 <= found.line <= len(text.splitlines()) + 1, found


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects(kind: str) -> None:
    """Each field of an object replaced by values of other types, removed, and renamed."""
    for _, item in list(mutants(OBJECTS[kind]))[::3]:
        findings(item)


@pytest.mark.parametrize("provider", parameters.providers())
def test_texts_of_parameters(provider: str) -> None:
    """Anything as the list of objects of each known provider."""
    for text in TEXTS:
        findings(document(provider=provider, parameters={"objects": text, "secrets": text}))


def test_a_sync_without_a_spec() -> None:
    """The CRD accepts it, and it is useless → a sentence."""
    item = {key: value for key, value in GOOD["SecretSync"].items() if key != "spec"}
    (found,) = Files([Source("a", yaml.safe_dump(item).encode())]).check(partial=False)
    assert found.field == "spec" and "it is missing" in found.sentence
