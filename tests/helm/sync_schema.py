"""The schema of the sync controller's own chart, from ``secretSync`` in the driver's:
``python -m tests.helm.sync_schema > helm/sync/values.schema.json``."""

import json
from typing import Any

from tests.helm import chart

# Of the driver's chart, but not below secretSync there.
SHARED = ("imagePullSecrets", "commonLabels", "podMonitor", "prometheusRule")
DEFINITIONS = ("object", "objects", "strings", "image", "resources", "quantities")


def schema() -> dict[str, Any]:
    """The schema. Keys that it does not have are accepted, since a values file of the official chart may have some; the
    notes after install name them."""
    whole = json.loads((chart.CHART / "values.schema.json").read_text())
    whole["properties"]["prometheusRule"]["properties"].pop("staleAfterSeconds")  # it mounts no volumes
    values = {key: part for key, part in whole["properties"]["secretSync"]["properties"].items() if key != "enabled"}
    return {
        "$schema": whole["$schema"],
        "title": "Values of the sync controller's chart",
        "type": "object",
        "properties": {**values, **{key: whole["properties"][key] for key in SHARED}},
        "definitions": {key: whole["definitions"][key] for key in DEFINITIONS},
    }


def text() -> str:
    """The file's content."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(text(), end="")
