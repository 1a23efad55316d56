"""The verdicts on objects are those of a validator library; the sentences are tested in ``test_directory``."""

import copy
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
import pytest
import yaml

from driver.manifests import documents, schema

CLASS = "SecretProviderClass"
GOOD: dict[str, Any] = {
    CLASS: {
        "apiVersion": "secrets-store.csi.x-k8s.io/v1",
        "kind": CLASS,
        "metadata": {"name": "app", "namespace": "ns", "labels": {"a": "b"}, "annotations": {"c": "d"}},
        "spec": {
            "provider": "vault",
            "parameters": {"roleName": "app", "objects": "- {}"},
            "secretObjects": [
                {
                    "secretName": "db",
                    "type": "Opaque",
                    "labels": {"a": "b"},
                    "data": [{"objectName": "password", "key": "p"}],
                    "dataFrom": [{"objectName": "x", "format": "json", "prefix": "A_"}, {"all": True}],
                    "deletionPolicy": "WithPods",
                }
            ],
            "files": [{"path": "a", "format": "dotenv", "objects": [{"objectName": "password", "key": "p"}]}],
        },
    },
    "SecretSync": {
        "apiVersion": "secret-sync.x-k8s.io/v1alpha1",
        "kind": "SecretSync",
        "metadata": {"name": "app"},
        "spec": {
            "secretProviderClassName": "app",
            "serviceAccountName": "app",
            "forceSynchronization": "a1",
            "secretObject": {
                "type": "Opaque",
                "data": [{"sourcePath": "a", "targetKey": "b"}],
                "dataFrom": [{"objectName": "x", "format": "json", "prefix": "A_"}],
            },
        },
        "status": {"conditions": [{"observedGeneration": 1, "lastTransitionTime": "x", "message": "", "reason": "A",
                                   "status": "True", "type": "x"}]},
    },
}  # fmt: skip  # one line for each case
WRONG: list[Any] = [None, "", "x", "Wrong!", 0, -1, 1.5, True, [], ["x"], {}, {"a": 1}, [{}] * 65, "x" * 400]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all fields and items."""
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield (*path, name)
        yield from places(value[name], (*path, name))


def without_unknown_fields(node: Any) -> Any:
    """The schema for the library, with unknown fields as errors wherever the CRD lists the known ones."""
    if isinstance(node, Mapping):
        found = {key: without_unknown_fields(item) for key, item in node.items()}
        closed = {"additionalProperties": False} if "properties" in node and "type" in node else {}
        return found | closed
    return [without_unknown_fields(item) for item in node] if isinstance(node, list) else node


def mutants(good: Any) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Each field replaced by each wrong value, removed, and renamed."""
    for path in places(good):
        if path in (("kind",), ("apiVersion",), ("metadata",), ("metadata", "name")):
            continue  # these have rules of their own, beside the schema
        for change in [*WRONG, "remove", "rename"]:
            document = copy.deepcopy(good)
            around = document
            for name in path[:-1]:
                around = around[name]
            if change == "remove":
                around.pop(path[-1])
            elif change == "rename":
                if isinstance(around, dict):
                    around[f"{path[-1]}x"] = around.pop(path[-1])
            else:
                around[path[-1]] = change
            yield path, document


@pytest.mark.parametrize("kind", GOOD)
def test_verdicts(kind: str) -> None:
    """Each field of a good object is replaced by values of other types, removed, and renamed → the same objects are
    refused as by a validator library."""
    good = GOOD[kind]
    assert schema.check(good) == []
    rules = without_unknown_fields(schema.kinds()[kind][good["apiVersion"]])
    library = jsonschema.Draft7Validator(rules)
    verdicts = set()
    for path, document in mutants(good):
        expected = next(library.iter_errors(document), None)
        assert bool(schema.check(document)) == bool(expected), (path, expected, schema.check(document))
        verdicts.add(bool(expected))
    assert verdicts == {True, False}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("text", ["a" * 250 + "!", "a" * 250 + "._", "-" * 250, "a-" * 120 + "!"])
def test_a_text_that_almost_matches(text: str) -> None:
    """A long text that a pattern refuses only at its end → refused at once."""
    document = copy.deepcopy(GOOD["SecretSync"])
    document["spec"]["forceSynchronization"] = text
    (problem,) = schema.check(document)
    assert problem.sentence.startswith("it must match")


@pytest.mark.parametrize("kind", GOOD)
def test_an_unfinished_object(kind: str) -> None:
    """An object cut off after each line → sentences, and never an exception."""
    lines = yaml.safe_dump(GOOD[kind], sort_keys=False).splitlines()
    for end in range(3, len(lines)):
        for document in documents.parse("\n".join(lines[:end]), "x"):
            for problem in schema.check(document.value):
                assert document.line(problem.path) <= end and problem.sentence


@pytest.mark.parametrize("text", ["- a", "text", "5", "true", "[]"])
def test_documents_without_an_object(text: str) -> None:
    """A document may be anything → it is read, and has a first line."""
    (document,) = documents.parse(text, "x")
    assert document.line(("spec", 0, "x")) == 1


def test_lines() -> None:
    """The line of a field, of an item, of one that a merge brings, and of one that is missing: that of the nearest
    around it."""
    text = "a: &x\n  b: 1\n  c:\n  - d\n  - e\nf:\n  <<: *x\n  b: 2\n"
    (document,) = documents.parse(text, "x")
    paths = [("a",), ("a", "b"), ("a", "c", 1), ("f", "b"), ("f", "c"), ("f", "missing"), ("missing",), ()]
    assert [document.line(path) for path in paths] == [1, 2, 5, 8, 3, 6, 1, 1]


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("a: 1\nb: 2\na: 3", 3, "the key a is already in line 1"),
        ("a: {b: 1, 'b': 2}", 1, "the key b is already in line 1"),
        ("- a: 1\n  a: 2", 2, "the key a is already in line 1"),
        ("a:\n\t- b", 2, "a tab in the indentation"),
        ("a:\n  b: 1\n\tc: 2", 3, "a tab in the indentation"),
        ("a: [", 1, "not valid YAML"),
    ],
)
def test_mistakes_in_the_yaml(text: str, line: int, sentence: str) -> None:
    """A mistake in the YAML itself → its line, and what to do."""
    with pytest.raises(documents.NotYaml) as caught:
        list(documents.parse(text, "x"))
    assert sentence in caught.value.sentence and abs(caught.value.line - line) <= (1 if text == "a: [" else 0)
