"""values.yaml, values.schema.json, docs/values.md, the container's flags and the templates agree."""

import json
from typing import Any

import pytest
import yaml

from container.main import configure, flags
from driver.config import DriverConfig
from tests.helm import chart, values_page
from tests.helm.values_page import Row

ROWS = list(values_page.rows())
OF_FLAGS = [row for row in ROWS if row.flag]
# Flags that follow from the pod's specification and cannot be chosen.
FIXED = {"endpoint", "nodeid", "kubelet-registration-path", "plugin-registration-path", "probe-timeout"}
# Follow from the value tokenRequests, which is the CSIDriver object's, and from the policies and the roles.
FROM_OTHERS = {"accept-context-tokens", "read-secrets-by-patch"}
# Not in values.yaml, because their absence has a meaning or because they are only accepted.
ABSENT = (
    "nameOverride",
    "fullnameOverride",
    "filteredWatchSecret",
    ".digest",
    "registrarImage",
    "livenessProbeImage",
    "linux.crds.image",
)
SAMPLES: dict[str, Any] = {
    "linux.kubeletRootDir": "/sample",
    "linux.providersDir": "/sample",
    "linux.metricsAddr": ":1234",
    "linux.additionalProvidersDirs": ["/one", "/two"],
    "rotationPollInterval": "7s",
    "providerHealthCheckInterval": "7s",
    "startupTaint.key": "sample",
    "startupTaint.providers": ["one", "two"],
    "tmpfsSize": 7,
    "tmpfsNoexec": False,
    "statusEndpoint": "127.0.0.1:7",
}
# What must be set, too, for a value to have an effect.
NEEDED = {
    "startupTaint.key": ["--set=startupTaint.enabled=true"],
    "startupTaint.providers": ["--set=startupTaint.enabled=true"],
}


def arguments(*given: str) -> dict[str, str]:
    """The rendered flags of the container with their values."""
    (only,) = (item for item in chart.render(*given) if item["kind"] == "DaemonSet")
    found = only["spec"]["template"]["spec"]["containers"][0]["args"]
    return dict(item.lstrip("-").split("=", 1) for item in found)


def sample(row: Row) -> Any:
    """A value other than the default."""
    if row.key in SAMPLES:
        return SAMPLES[row.key]
    assert isinstance(row.default, int), f"{row.key}: add a sample"
    return (not row.default) if isinstance(row.default, bool) else row.default + 1


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> list[str]:
    """The keys of values.yaml."""
    found = []
    for name, value in values.items():
        found += leaves(value, (*path, name)) if isinstance(value, dict) and value else [".".join((*path, name))]
    return found


def test_schema_and_defaults_have_the_same_keys() -> None:
    """Every key of values.yaml is described in the schema, and every key of the schema is in values.yaml or meant to be
    absent."""
    keys = [row.key for row in ROWS]
    defaults = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    undescribed = [leaf for leaf in leaves(defaults) if not any(f"{leaf}.".startswith(f"{key}.") for key in keys)]
    assert undescribed == []
    absent = [row.key for row in ROWS if row.default is ...]
    assert [key for key in absent if not key.endswith(ABSENT)] == []


def test_values_page() -> None:
    """docs/values.md is what ``python -m tests.helm.values_page`` prints."""
    assert (chart.ROOT / "docs" / "values.md").read_text() == values_page.page()


@pytest.mark.parametrize("row", OF_FLAGS, ids=lambda row: row.key)
def test_a_value_sets_its_flag(row: Row) -> None:
    """A value is changed → the flag that the page names changes, and besides only flags derived from it."""
    needed = NEEDED.get(row.key, [])
    before = arguments(*needed)
    after = arguments(*needed, f"--set-json={row.key}={json.dumps(sample(row))}")
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    derived = {"kubelet-registration-path"} if row.flag == "kubelet-pods-dir" else set()
    if row.key == "startupTaint.enabled":
        derived = {"startup-taint"}
    assert changed == {row.flag} | derived


def test_every_flag_of_the_chart_has_its_value() -> None:
    """Every flag that the chart sets has a value, except those that follow from the pod's specification."""
    given = set(arguments(f"--values={chart.VALUES}/everything.yaml", "--set=windows.enabled=false"))
    assert given - FIXED - FROM_OTHERS <= {row.flag for row in OF_FLAGS}


def test_defaults_are_the_drivers() -> None:
    """No values → the driver runs with its own defaults, except flags that follow from the pod's specification,
    that kubelet is asked for no tokens, and that Secrets are read as the policies demand."""
    given = [
        f"--{name}={value}".replace("$(CSI_ENDPOINT)", "unix:///csi/csi.sock") for name, value in arguments().items()
    ]
    config = configure(flags().parse(given).values).driver
    differing = {name for name, value in vars(config).items() if value != getattr(DriverConfig(), name)}
    assert differing == {"endpoint", "nodeid", "kubelet_pods_dir", "accept_context_tokens", "read_secrets_by_patch"}


def test_extra_arguments_come_last() -> None:
    """linux.extraArgs sets a flag without a value of its own → it comes after all others, because the last one
    counts."""
    (only,) = (
        item
        for item in chart.render("--set=linux.extraArgs={--probe-refuse-before-first-answer=true}")
        if item["kind"] == "DaemonSet"
    )
    given = only["spec"]["template"]["spec"]["containers"][0]["args"]
    assert given[-1] == "--probe-refuse-before-first-answer=true"
    assert configure(
        flags().parse([item.replace("$(CSI_ENDPOINT)", "unix:///csi/csi.sock") for item in given]).values
    ).probe.refuse_before_first_answer
