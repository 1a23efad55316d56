"""The most likely mistakes in those fields of a class that this project has added, as ``mistakes``.

They are ``REFUSED`` by the CRD's schema or, in the files that a class composes, ``FAILING`` with a sentence. What the
schema accepts of its ``secretObjects`` is an event of the driver: tests/driver/sync/test_wanted.py.
"""

from typing import Any

from tests.cluster.secret_sync.mistakes import ABSENT, ENTRY, NO_STRINGS

OBJECTS = [{"objectName": "password", "key": "PW"}]
FILE = {"path": "f", "format": "dotenv", "objects": OBJECTS}


def _file(**fields: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in {**FILE, **fields}.items() if value is not ABSENT}]


def _object(**fields: Any) -> list[dict[str, Any]]:
    entry = {"objectName": "password", "key": "PW", **fields}
    return _file(objects=[{key: value for key, value in entry.items() if value is not ABSENT}])


def _template(template: str) -> list[dict[str, Any]]:
    return _file(format=ABSENT, template=template)


def _secret(**fields: Any) -> list[dict[str, Any]]:
    return [{"secretName": "app", "type": "Opaque", "data": [{"objectName": "password", "key": "pw"}], **fields}]


def _source(**fields: Any) -> list[dict[str, Any]]:
    return _secret(dataFrom=[fields])


POLICY, SOURCES = "spec.secretObjects[0].deletionPolicy", "spec.secretObjects[0].dataFrom"
REFUSED: dict[str, dict[str, Any]] = {
    POLICY: {
        what: _secret(deletionPolicy=value)
        for what, value in {
            **NO_STRINGS,
            "empty": "",
            "a truth value": True,
            "upper case": "WITHCLASS",
            "lower case": "withclass",
            "with a dash": "with-class",
            "with a space": "WithClass ",
            "a volume's": "Retain",
            "a volume's other": "Delete",
            "an ExternalSecret's": "Orphan",
        }.items()
    },
    SOURCES: {
        "a map": _secret(dataFrom={"all": True}),
        "text": _secret(dataFrom="app.json"),
        "an entry is text": _secret(dataFrom=["app.json"]),
        "an entry is null": _secret(dataFrom=[None]),
        "name": _source(name="app.json", format="json"),
        "sourcePath": _source(sourcePath="app.json", format="json"),
    },
    f"{SOURCES}[0].objectName": {what: _source(objectName=value, format="json") for what, value in NO_STRINGS.items()},
    f"{SOURCES}[0].format": {
        what: _source(objectName="app.json", format=value)
        for what, value in {**NO_STRINGS, "empty": "", "yaml": "yaml", "env": "env", "upper case": "JSON"}.items()
    },
    f"{SOURCES}[0].all": {what: _source(all=value) for what, value in {"text": "true", "yes": "yes", "1": 1}.items()},
    f"{SOURCES}[0].prefix": {
        what: _source(objectName="app.json", format="json", prefix=value) for what, value in NO_STRINGS.items()
    },
    "spec.files": {
        "a map": {"f": "x"},
        "text": "f",
        "an entry is text": ["f"],
        "an entry is null": [None],
        "name": [{"name": "f"}],
        "a mode": _file(mode="0400"),
        "too many": [{**FILE, "path": f"f{number}"} for number in range(65)],
    },
    "spec.files[0].path": {what: _file(path=value) for what, value in NO_STRINGS.items()},
    "spec.files[0].format": {
        what: _file(format=value)
        for what, value in {**NO_STRINGS, "empty": "", "yaml": "yaml", "env": "env", "upper case": "JSON"}.items()
    },
    "spec.files[0].template": {what: _file(template=value) for what, value in NO_STRINGS.items()},
    "spec.files[0].objects": {
        "a map": _file(objects={"PW": "password"}),
        "text": _file(objects="password"),
        "an entry is text": _file(objects=["password"]),
        "a SecretSync's entry": _file(objects=[ENTRY]),
        "too many": _file(objects=[{"objectName": "password", "key": f"K{number}"} for number in range(257)]),
    },
    "spec.files[0].objects[0].objectName": {what: _object(objectName=value) for what, value in NO_STRINGS.items()},
    "spec.files[0].objects[0].key": {what: _object(key=value) for what, value in NO_STRINGS.items()},
}
EITHER = "set either format (json, dotenv or properties) or template, and not both"
UNUSED = "template: key PW of objects is not in it: write ${PW}, or remove the key"
VARIABLE = "cannot be a variable: use letters, digits and '_'"
# What is wrong: the files, and the sentence after ``spec.files``.
FAILING: dict[str, tuple[list[dict[str, Any]], str]] = {
    "an empty entry": ([{}], "[0]: path is empty: name the file"),
    "no path": (_file(path=ABSENT), "[0]: path is empty: name the file"),
    "an absolute path": (_file(path="/etc/x"), ": invalid path '/etc/x': it must be relative"),
    "a path above": (_file(path="../x"), ": invalid path '../x': it must not contain '..'"),
    "a reserved path": (_file(path="..data"), ": invalid path '..data': it must not begin with '..'"),
    "a slash last": (_file(path="f/"), ": invalid path 'f/': it must be in its shortest form"),
    "a dot": (_file(path="."), ": invalid path '.'"),
    "a name too long": (_file(path="a" * 256), "no component may be longer than 255 bytes"),
    "two lines": (_file(path="a\nb"), "[0]: path 'a\\nb' must be text without control characters"),
    "an object's path": (_file(path="password"), "[0]: path password is also the name of an object"),
    "a path below an object": (_file(path="password/x"), "'password' is a file of the same payload"),
    "a path twice": (_file() * 2, "[1]: path f is listed twice"),
    "a path below a file": (_file() + _file(path="f/g"), "'f' is a file of the same payload"),
    "no format": (_file(format=ABSENT), f"[0]: {EITHER}"),
    "format and template": (_file(template="${PW}"), f"[0]: {EITHER}"),
    "no objects": (_file(objects=ABSENT), "[0]: objects is empty: list objectName and key"),
    "empty objects": (_file(objects=[]), "[0]: objects is empty: list objectName and key"),
    "no objectName": (_object(objectName=ABSENT), "[0]: an objectName is empty"),
    "no key": (_object(key=ABSENT), "[0]: the key of objectName password is empty"),
    "an object that is missing": (_object(objectName="none"), "[0]: file matching objectName none not found"),
    "an absolute object": (_object(objectName="/password"), "[0]: file matching objectName /password not found"),
    "an object in the wrong case": (_object(objectName="Password"), "objectName Password not found"),
    "another file": (_file() + _file(path="g", objects=[{"objectName": "f", "key": "A"}]), "objectName f not found"),
    "a key twice": (_file(objects=OBJECTS * 2), "[0]: key PW is listed twice"),
    "a key with a dash": (_object(key="DB-PW"), f"[0]: key DB-PW {VARIABLE}"),
    "a key with a digit first": (_object(key="1A"), VARIABLE),
    "a key with a dot": (_object(key="a.b"), VARIABLE),
    "a key with an equals sign": (_object(key="A=B"), VARIABLE),
    "bytes": (_object(objectName="binary"), "[0]: objectName binary is not UTF-8 text"),
    "a NUL": (_object(objectName="nul"), "[0]: the value of key PW has a NUL character"),
    "not closed": (_template("${PW"), "[0]: template: a ${ is not closed"),
    "an unknown key": (_template("${X}"), "[0]: template: X is no key of objects: PW"),
    "an empty placeholder": (_template("${}"), "template: a placeholder without a name"),
    "an unknown filter": (_template("${PW|upper}"), "template: filter upper is unknown: use url, json, base64"),
    "two filters": (_template("${PW|url|json}"), "template: filter url|json is unknown"),
    "a default": (_template("${PW:-x}"), "template: PW:-x is no key of objects"),
    "a nested placeholder": (_template("${${PW}}"), "template: ${PW is no key of objects"),
    "no placeholder": (_template("plain"), UNUSED),
    "Go's template": (_template("{{ .PW }}"), UNUSED),
    "a shell's variable": (_template("$PW"), UNUSED),
    "Python's template": (_template("%(PW)s"), UNUSED),
    "a command": (_template("$(cat PW)"), UNUSED),
    "an escaped placeholder": (_template("$${PW}"), UNUSED),
}  # fmt: skip  # one line for each mistake
