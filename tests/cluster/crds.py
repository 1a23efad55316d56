"""The Go driver's two CRDs, as a cluster that ran it still has them: no printer columns, none of our status fields."""

import json
from pathlib import Path
from typing import Any

Schema = dict[str, Any]

GROUP = "secrets-store.csi.x-k8s.io"
STRING: Schema = {"type": "string"}
STRINGS: Schema = {"type": "object", "additionalProperties": STRING}


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


_CLASS_SPEC = _object(
    provider=STRING,
    parameters=STRINGS,
    secretObjects=_list(
        _object(
            secretName=STRING,
            type=STRING,
            labels=STRINGS,
            annotations=STRINGS,
            data=_list(_object(objectName=STRING, key=STRING)),
        )
    ),
)
_POD_STATUS = _object(
    podName=STRING,
    secretProviderClassName=STRING,
    mounted={"type": "boolean"},
    targetPath=STRING,
    objects=_list(_object(id=STRING, version=STRING)),
)


def write_trio_crds(directory: Path, *, pruned: bool = True) -> tuple[Path, ...]:
    """Write the CRDs as JSON files and return their paths; unless ``pruned``, a pod status may have unknown fields."""
    directory.mkdir(parents=True, exist_ok=True)
    status = _POD_STATUS if pruned else {**_POD_STATUS, "x-kubernetes-preserve-unknown-fields": True}
    schemas = {
        "SecretProviderClass": _object(spec=_CLASS_SPEC, status={"type": "object"}),
        "SecretProviderClassPodStatus": _object(status=status),
    }
    files = []
    for kind, schema in schemas.items():
        path = directory / f"{kind.lower()}.json"
        path.write_text(json.dumps(_definition(kind, schema)))
        files.append(path)
    return tuple(files)


def _definition(kind: str, schema: Schema) -> Schema:
    singular = kind.lower()
    plural = f"{singular}es"
    whole = {
        "type": "object",
        "properties": {
            "apiVersion": STRING,
            "kind": STRING,
            "metadata": {"type": "object"},
            **schema["properties"],
        },
    }
    versions = [
        {
            "name": name,
            "served": True,
            "storage": name == "v1",
            "deprecated": name != "v1",
            "schema": {"openAPIV3Schema": whole},
        }
        for name in ("v1", "v1alpha1")
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "versions": versions,
            "names": {"kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular},
        },
    }
