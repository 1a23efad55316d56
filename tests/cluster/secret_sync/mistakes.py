"""The most likely mistakes in each field of a SecretSync.

What the CRD's schema refuses is listed by field (``REFUSED``): the API server's text must name it. All else is
accepted, and must end as a condition with a sentence (``FAILING``).
"""

import json
from dataclasses import dataclass, field
from typing import Any

ABSENT: Any = object()
"""The field is left out."""

NO_NAMES = {
    "empty": "",
    "null": None,
    "a number": 5,
    "a list": ["app"],
    "upper case": "App",
    "an underscore": "my_app",
    "a namespace": "other/app",
    "a space": "app ",
    "a user": "system:serviceaccount:x:app",
    "too long": "a" * 254,
}
NO_STRINGS = {"a number": 5, "a list": ["a"], "a map": {"a": "b"}}
NO_KEYS = {
    **NO_STRINGS,
    "empty": "",
    "null": None,
    "a space": "a b",
    "an umlaut": "ü",
    "two dots": "..",
    "hidden twice": "..x",
    "a directory": "a/b",
    "an equals sign": "a=b",
    "a dash first": "-a",
    "a dot last": "a.",
    "too long": "a" * 254,
}


def _source(**fields: Any) -> list[dict[str, Any]]:
    return [fields]


def _entry(**fields: Any) -> list[dict[str, Any]]:
    return [{key: value for key, value in {**ENTRY, **fields}.items() if value is not ABSENT}]


ENTRY = {"sourcePath": "password", "targetKey": "pw"}
SECRET = "spec.secretObject"
DATA, DATA_FROM = f"{SECRET}.data", f"{SECRET}.dataFrom"
# Field: what is wrong, and the value.
REFUSED: dict[str, dict[str, Any]] = {
    "spec": {"missing": ABSENT, "null": None, "a list": [], "text": "app"},
    "spec.secretProviderClassName": {"missing": ABSENT, **NO_NAMES},
    "spec.serviceAccountName": {"missing": ABSENT, **NO_NAMES},
    "spec.secretSyncControllerName": NO_STRINGS,
    "spec.forceSynchronization": {
        **NO_STRINGS,
        "a truth value": True,
        "a fraction": 1.5,
        "empty": "",
        "a time": "2026-01-01T00:00:00Z",
        "a space": "a b",
        "an underscore": "a_b",
        "an umlaut": "ü",
        "too long": "a" * 254,
    },
    SECRET: {
        "missing": ABSENT,
        "null": None,
        "empty": {},
        "a list": [],
        "text": "app",
        "no data": {"type": "Opaque"},
        "data null": {"type": "Opaque", "data": None},
        "dataFrom null": {"type": "Opaque", "dataFrom": None},
        "stringData": {"type": "Opaque", "data": [ENTRY], "stringData": {"a": "b"}},
        "secretName": {"type": "Opaque", "data": [ENTRY], "secretName": "app"},
        "immutable": {"type": "Opaque", "data": [ENTRY], "immutable": True},
    },
    f"{SECRET}.type": {**NO_STRINGS, "empty": "", "too long": "x" * 254},
    DATA: {
        "empty": [],
        "a map": {"pw": "password"},
        "text": "password",
        "an entry is text": ["password"],
        "an entry is null": [None],
        "an entry is empty": [{}],
        "a class's entry": [{"objectName": "password", "key": "pw"}],
        "a key twice": [ENTRY, ENTRY],
        "too many": [{**ENTRY, "targetKey": f"k{number}"} for number in range(1025)],
        "one more field": _entry(encoding="base64"),
    },
    f"{DATA}[0].sourcePath": {
        what: _entry(sourcePath=value)
        for what, value in {
            "missing": ABSENT,
            **NO_KEYS,
            "absolute": "/password",
            "above": "../password",
            "a slash last": "sub/",
            "a wildcard": "*",
        }.items()
    },
    f"{DATA}[0].targetKey": {
        what: _entry(targetKey=value) for what, value in {"missing": ABSENT, **NO_KEYS, "an underscore": "a_b"}.items()
    },
    DATA_FROM: {
        "empty": [],
        "a map": {"all": True},
        "text": "app.json",
        "an entry is text": ["app.json"],
        "an entry is null": [None],
        "an entry is empty": [{}],
        "a pod's source": _source(secretRef={"name": "x"}),
        "an ExternalSecret's source": _source(extract={"key": "x"}),
        "only a prefix": _source(prefix="DB_"),
        "too many": [{"all": True}] * 65,
    },
    f"{DATA_FROM}[0].objectName": {
        **{what: _source(objectName=value, format="json") for what, value in NO_STRINGS.items()},
        "empty": _source(objectName="", format="json"),
        "too long": _source(objectName="a" * 254, format="json"),
    },
    f"{DATA_FROM}[0]": {
        "no objectName": _source(format="json"),
        "no format": _source(objectName="app.json"),
        "objectName null": _source(objectName=None, format="json"),
        "format null": _source(objectName="app.json", format=None),
        "all and objectName": _source(objectName="app.json", all=True),
        "all and format": _source(format="json", all=True),
        "all and both": _source(objectName="app.json", format="json", all=True),
        "all false": _source(all=False),
        "all null": _source(all=None),
        "sourcePath": _source(sourcePath="app.json", format="json"),
        "name": _source(name="app.json", format="json"),
    },
    f"{DATA_FROM}[0].format": {
        what: _source(objectName="app.json", format=value)
        for what, value in {**NO_STRINGS, "empty": "", "yaml": "yaml", "env": "env", "upper case": "JSON"}.items()
    },
    f"{DATA_FROM}[0].all": {what: _source(all=value) for what, value in {"text": "true", "yes": "yes", "1": 1}.items()},
    f"{DATA_FROM}[0].prefix": {
        what: _source(objectName="app.json", format="json", prefix=value)
        for what, value in {
            **NO_STRINGS,
            "a space": "DB ",
            "a slash": "db/",
            "an umlaut": "ü",
            "an equals sign": "DB=",
            "a placeholder": "${x}",
            "too long": "a" * 201,
        }.items()
    },
    **{
        f"{SECRET}.{what}": {
            "a list": ["a=b"],
            "text": "a=b",
            "a number": {"a": 1},
            "a truth value": {"a": True},
            "a key too long": {"a" * 318: "b"},
            "reserved": {"secrets-store.sync.x-k8s.io": ""},
            "reserved prefix": {"secrets-store.sync.x-k8s.io/x": ""},
            "a value too long": {"a": "x" * most},
        }
        for what, most in (("labels", 64), ("annotations", 262145))
    },
}

FETCH, PATCH = "RemoteSecretStoreFetchFailed", "ControllerPatchError"
MISCONFIGURED = "SecretProviderClassMisconfigured"
STORE: dict[str, str | bytes] = {
    "password": "s3cret",
    "app.json": '{"user": "app"}',
    "list.json": "[1]",
    "text.json": '"x"',
    "comma.json": '{"a": "1",}',
    "nothing.json": "{}",
    "unnamed.json": '{"": "x"}',
    "dot.json": '{".": "x"}',
    "long.json": json.dumps({"k" * 254: "x"}),
    "many.json": json.dumps({f"k{number}": "v" for number in range(1025)}),
    "deep.json": '{"a":' + "[" * 20000 + "]" * 20000 + "}",
    "bad.properties": "a=\\u12",
    "empty": "",
    "binary": b"\xff\xfe\x00\x01",
    "nul": "a\0b",
}


@dataclass(frozen=True)
class Failing:
    """Changes of the SecretSync's ``spec`` and ``secretObject``; the condition's reason and a part of its message."""

    reason: str
    text: str
    spec: dict[str, Any] = field(default_factory=dict)
    secret: dict[str, Any] = field(default_factory=dict)


def _read(name: str, kind: str, sentence: str, **fields: Any) -> Failing:
    source = {"objectName": name, "format": kind, **fields}
    return Failing(FETCH, sentence, secret={"data": ABSENT, "dataFrom": [source]})


def _refused(text: str, **secret: Any) -> Failing:
    return Failing(PATCH, text, secret=secret)


TYPE = "The controller can only create or update secrets in the allowed types list"
DENIED = "The controller is not allowed to create or update secrets with this type"
SUBDOMAIN = "RFC 1123 subdomain"
FAILING: dict[str, Failing] = {
    "a class that is missing": Failing(MISCONFIGURED, '"none" not found', {"secretProviderClassName": "none"}),
    "a file of the store that is missing": Failing(
        FETCH, "file matching sourcePath none not found", secret={"data": _entry(sourcePath="none")}
    ),
    "a file in the wrong case": Failing(
        FETCH, "file matching sourcePath Password not found", secret={"data": _entry(sourcePath="Password")}
    ),
    "a key that is a dot": _refused("data[.]", data=_entry(targetKey=".")),
    "a key with a number": _refused("data[a/1]", data=_entry(targetKey="a/1")),
    "an object that is missing": _read("none", "json", "file matching objectName none not found; there are: "),
    "an absolute object": _read("/app.json", "json", "file matching objectName /app.json not found"),
    "an object above": _read("../app.json", "json", "file matching objectName ../app.json not found"),
    "a password as JSON": _read("password", "json", "objectName password: it is not JSON (line 1, column 1)"),
    "a password as dotenv": _read("password", "dotenv", "objectName password: it is not dotenv: line 1"),
    "a password as properties": _read("password", "properties", "it is not a properties file: entry 1 has no"),
    "JSON as dotenv": _read("app.json", "dotenv", "it is not dotenv: it begins with '{', as JSON does"),
    "JSON as properties": _read("app.json", "properties", "it begins with '{', as JSON does"),
    "a JSON list": _read("list.json", "json", 'its JSON is not a map: it must be {"key": "value", …}'),
    "JSON text": _read("text.json", "json", "its JSON is not a map"),
    "JSON with a comma too many": _read("comma.json", "json", "it is not JSON (line 1, column 11)"),
    "JSON without entries": _read("nothing.json", "json", "the objects have no entries"),
    "dotenv without entries": _read("empty", "dotenv", "the objects have no entries"),
    "an empty name": _read("unnamed.json", "json", "the name '' of an entry cannot be a key"),
    "a name that is a dot": _read("dot.json", "json", "the name '.' of an entry cannot be a key"),
    "a name too long": _read("long.json", "json", "has 254 characters, and at most 253 are possible"),
    "a prefix too long": _read("long.json", "json", "has 354 characters", prefix="p" * 100),
    "too many entries": _read("many.json", "json", "it has more than 1024 entries"),
    "JSON too deep": _read("deep.json", "json", "nested too deeply"),
    "an escape of properties": _read("bad.properties", "properties", "is not followed by four hex digits"),
    "bytes": _read("binary", "json", "it is not UTF-8 text"),
    "a type in lower case": _refused(TYPE, type="opaque"),
    "a short type": _refused(TYPE, type="tls"),
    "a type with a space": _refused(TYPE, type="Opaque "),
    "a type of somebody's own": _refused(TYPE, type="example.org/license"),
    "an account's token": _refused("service-account.name]", type="kubernetes.io/service-account-token"),
    "a node's token": _refused(DENIED, type="bootstrap.kubernetes.io/token"),
    "a release": _refused(DENIED, type="helm.sh/release.v1"),
    "TLS without its keys": _refused("data[tls.crt]: Required value", type="kubernetes.io/tls"),
    "a registry without its key": _refused("data[.dockerconfigjson]", type="kubernetes.io/dockerconfigjson"),
    "a login without its keys": _refused("data[username]: Required value", type="kubernetes.io/basic-auth"),
    "SSH without its key": _refused("data[ssh-privatekey]: Required value", type="kubernetes.io/ssh-auth"),
    "not a certificate": Failing(
        FETCH,
        "sourcePath password cannot be tls.key: it has no private key",
        secret={"type": "kubernetes.io/tls", "data": _entry(targetKey="tls.crt") + _entry(targetKey="tls.key")},
    ),
    **{
        f"{what}: {mistake}": _refused(f"metadata.{what}: Invalid value", **{what: {key: "x"}})
        for what in ("labels", "annotations")
        for mistake, key in {
            "a space": "a b",
            "no key": "",
            "two slashes": "a/b/c",
            "a name too long": "a" * 64,
            "an umlaut": "ü",
        }.items()
    },
    "labels: a prefix in upper case": _refused(SUBDOMAIN, labels={"Example.ORG/a": "x"}),
    **{
        f"labels: a value with {what}": _refused("metadata.labels: Invalid value", labels={"a": value})
        for what, value in {"a space": "b c", "an umlaut": "ü", "two lines": "x\ny", "a dash last": "x-"}.items()
    },
}  # fmt: skip  # one line for each mistake
