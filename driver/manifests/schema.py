"""Checks an object against the schema of its CRD, with a sentence for its author.

A CRD's schema is a small part of JSON Schema (https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/
custom-resource-definitions/#specifying-a-structural-schema). The walk below knows that part and nothing else, because
the driver uses it too, which must not import a validator; a test compares its verdicts with those of the library
``jsonschema``. In addition it names fields that the schema does not have: an API server removes them, which kubectl
refuses by default.

A sentence never has the value of a field in it: parameters may be confidential.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from driver.manifests.documents import FieldPath

# A part of patterns in SecretSync's CRD, and one that matches the same texts: API servers match in linear time, but
# Python would try each way to divide a text into ones and twos.
_LINEAR = ("([-._a-zA-Z0-9]?[A-Za-z0-9])*", "([-._]?[A-Za-z0-9])*")
_CRDS = Path(__file__).parent / "crds"
_TEXT: Mapping[str, Any] = {"type": "string"}
_TEXTS: Mapping[str, Any] = {"type": "object", "additionalProperties": _TEXT}
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/object-meta/; an author writes the first ones.
_SYSTEM_FIELDS = ("generateName", "finalizers", "ownerReferences", "uid", "resourceVersion", "generation") + (
    ("creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "managedFields", "selfLink")
)
_METADATA: Mapping[str, Any] = {
    "type": "object",
    "properties": dict.fromkeys(_SYSTEM_FIELDS, {})
    | {"name": _TEXT, "namespace": _TEXT, "labels": _TEXTS, "annotations": _TEXTS},
}
# The parameters in which providers expect what to fetch, often written where secretObjects is.
_LISTS = ("objects", "secrets")
_KINDS: Mapping[type, str] = {
    type(None): "empty",
    date: "a date",
    datetime: "a date",
    dict: "a map",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
}
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "object": dict,
    "array": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
}


@dataclass(frozen=True)
class Problem:
    """What is wrong with the field at ``path``, and what to write instead."""

    path: FieldPath
    sentence: str

    def __str__(self) -> str:
        return f"{dotted(self.path)}: {self.sentence}" if self.path else self.sentence


def dotted(path: FieldPath) -> str:
    """A path as people write it: ``spec.files[0].path``."""
    return "".join(f"[{name}]" if isinstance(name, int) else f".{name}" for name in path).lstrip(".")


def did_you_mean(word: str, known: Iterable[str], otherwise: str = "") -> str:
    """``: did you mean …?`` if one of the known words is similar, else ``otherwise``."""
    import difflib  # only after a mistake

    by_lower = {name.lower(): name for name in known}
    found = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f": did you mean {by_lower[found[0]]}?" if found else otherwise


@lru_cache
def kinds() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """For each kind its schema by apiVersion, the preferred version first."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for path in sorted(_CRDS.glob("*.yaml")):
        spec = yaml.load(path.read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema = {**schema, "properties": {**schema["properties"], "metadata": _METADATA}}
            found.setdefault(spec["names"]["kind"], {})[f"{spec['group']}/{version['name']}"] = schema
    return found


def check(document: Mapping[Any, Any]) -> list[Problem]:
    """What is wrong with an object of one of the kinds, or of a misspelt one; nothing for other kinds."""
    kind, version = document.get("kind"), document.get("apiVersion")
    groups = {name.split("/")[0] for versions in kinds().values() for name in versions}
    if not isinstance(kind, str) or kind not in kinds():
        if isinstance(version, str) and version.split("/")[0] in groups and kind != "SecretProviderClassPodStatus":
            hint = did_you_mean(str(kind), kinds(), f": write {' or '.join(kinds())}")
            return [Problem(("kind",), f"unknown kind {kind}{hint}" if kind else f"it is missing{hint}")]
        return []
    versions = kinds()[kind]
    if not isinstance(version, str) or version not in versions:
        return [
            Problem(("apiVersion",), f"{'unknown' if version else 'missing'} apiVersion: write {next(iter(versions))}")
        ]
    problems = list(_walk(document, versions[version], ()))
    metadata = document.get("metadata")
    if metadata is None:
        problems.append(Problem(("metadata",), "it is missing: set metadata.name"))
    elif isinstance(metadata, dict) and metadata.get("name", "") == "":
        problems.append(Problem(("metadata", "name"), "it is missing: write name: …"))
    return problems


def _walk(value: Any, schema: Mapping[str, Any], path: FieldPath) -> Iterator[Problem]:
    wanted = schema.get("type")
    if wanted and not _is_a(value, wanted):
        yield Problem(path, _wrong_type(value, wanted, schema, path))
    elif isinstance(value, dict):
        yield from _walk_map(value, schema, path)
    elif isinstance(value, list):
        yield from _bounds(len(value), schema, path, "Items", "items")
        for number, item in enumerate(value):
            yield from _walk(item, schema.get("items", {}), (*path, number))
    elif isinstance(value, str):
        yield from _text(value, schema, path)
    elif "minimum" in schema and value < schema["minimum"]:
        yield Problem(path, f"it must be at least {schema['minimum']}")


def _walk_map(value: Mapping[Any, Any], schema: Mapping[str, Any], path: FieldPath) -> Iterator[Problem]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name, item in value.items():
        if not isinstance(name, str):
            yield Problem((*path, str(name)), "the name of a field must be a text: put it in quotes")
        elif name in properties:
            yield from _walk(item, properties[name], (*path, name))
        elif others is not None:
            yield from _walk(item, others, (*path, name))
        elif properties:
            yield Problem((*path, name), f"unknown field{_place_for(name, properties, path)}")
    for name in schema.get("required", ()):
        if name not in value:
            yield Problem((*path, name), f"it is missing: write {name}: …")


def _place_for(name: str, properties: Mapping[str, Any], path: FieldPath) -> str:
    """What else the author of an unknown field may have meant."""
    if path == () and name in ("provider", "parameters", "secretObjects", "files", "secretProviderClassName"):
        return f": indent it below spec, as spec.{name}"
    if path == () and name in ("name", "namespace", "labels", "annotations"):
        return f": indent it below metadata, as metadata.{name}"
    otherwise = f": there are {', '.join(properties)}"
    if path == ("spec",) and "parameters" in properties and name in _LISTS:
        return f": indent it below spec.parameters, as parameters.{name}"
    if path == ("spec",) and "parameters" in properties:
        otherwise = f": if it is a parameter of the provider, indent it below spec.parameters; {otherwise[2:]}"
    return did_you_mean(name, properties, otherwise)


def _is_a(value: Any, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])


def _wrong_type(value: Any, wanted: str, schema: Mapping[str, Any], path: FieldPath) -> str:
    found = _KINDS.get(type(value), "of another type")
    if wanted == "string":
        if not isinstance(value, (dict, list)):
            return f"it must be a string, and is {found}: put it in quotes"
        if path[:2] == ("spec", "parameters"):
            return f"it must be a string, and is {found}: write `{path[-1]}: |` and indent the lines below it further"
        return f"it must be a string, and is {found}"
    if wanted == "array":
        return f"it must be a list, and is {found}: begin each item with `- `"
    if wanted == "object":
        names = ", ".join(f"{name}: …" for name in list(schema.get("properties", {"key": {}}))[:2])
        return f"it must be a map, and is {found}: write {names}"
    return f"it must be {'true or false' if wanted == 'boolean' else 'a number'}, and is {found}"


def _text(value: str, schema: Mapping[str, Any], path: FieldPath) -> Iterator[Problem]:
    if "enum" in schema and value not in schema["enum"]:
        known = schema["enum"]
        yield Problem(path, f"it must be one of {', '.join(known)}{did_you_mean(value, known)}")
    yield from _bounds(len(value), schema, path, "Length", "characters")
    empty = not value and schema.get("minLength")  # said already
    if "pattern" in schema and not empty and not re.search(schema["pattern"].replace(*_LINEAR), value):
        yield Problem(path, f"it must match {schema['pattern']}")


def _bounds(size: int, schema: Mapping[str, Any], path: FieldPath, suffix: str, things: str) -> Iterator[Problem]:
    least, most = schema.get(f"min{suffix}", 0), schema.get(f"max{suffix}", size)
    if size < least:
        yield Problem(path, "it is empty: fill it, or remove it")
    if size > most:
        yield Problem(path, f"it has {size} {things}, and at most {most} are possible")
