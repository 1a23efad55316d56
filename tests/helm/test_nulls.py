"""Values set to null, as people do to take a default back: the chart's default applies, or, where none is needed, there
is no such field. Never an argument that the program refuses, nor a template's error."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from container.main import configure, flags
from tests.helm import chart, values_page
from tests.helm.parent import write_parent

# All templates are rendered and parsed by Helm, whatever it shows.
EVERYTHING = (f"--values={chart.VALUES}/everything.yaml", "--show-only=templates/secrets-store-csi-driver.yaml")


def nodes(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """All keys of a map and of the maps in it."""
    for name, value in values.items():
        yield ".".join((*path, name))
        if isinstance(value, dict):
            yield from nodes(value, (*path, name))


def defaults() -> dict[str, Any]:
    """values.yaml."""
    found: dict[str, Any] = yaml.safe_load((chart.CHART / "values.yaml").read_text())
    return found


def needed() -> dict[str, Any]:
    """The defaults that the templates repeat, because Helm drops what is set to null."""
    text = (chart.CHART / "templates" / "_defaults.tpl").read_text()
    found: dict[str, Any] = yaml.safe_load(text.partition('define "sscd.defaults" -}}')[2].partition("{{- end")[0])
    return found


def problem(key: str) -> str:
    """What is wrong with the chart if the key is null; empty if nothing is."""
    done = chart.template(*EVERYTHING, f"--set={key}=null")
    if done.returncode:
        return f"{key}: {done.stderr}"
    (only,) = yaml.safe_load(done.stdout)["spec"]["template"]["spec"]["containers"]
    given = [argument.replace("$(CSI_ENDPOINT)", "unix:///csi/csi.sock") for argument in only["args"]]
    configure(flags().parse(given).values)  # raises with the flag's name
    return ""


def test_the_templates_defaults_are_those_of_values() -> None:
    """What the templates repeat of values.yaml agrees with it."""
    everything = defaults()
    for key in nodes(needed()):
        path = tuple(key.split("."))
        mine, theirs = values_page.find(needed(), path), values_page.find(everything, path)
        assert mine == theirs or (isinstance(mine, dict) and isinstance(theirs, dict)), key


def test_every_template_prepares_the_values() -> None:
    """Helm renders templates in an order of its own, and any of them alone with ``--show-only`` → each begins with what
    fills in and checks the values."""
    templates = [path for path in (chart.CHART / "templates").iterdir() if path.suffix != ".tpl"]
    assert len(templates) > 5
    for path in templates:
        assert path.read_text().startswith('{{- include "sscd.prepare" . -}}\n'), path.name


def keys_of(part: str) -> list[str]:
    """The keys of values.yaml and of the schema in one part of the values: linux, windows, or the rest."""
    every = [*nodes(defaults()), *(row.key for row in values_page.rows() if row.default is ...)]
    return [key for key in every if (key.split(".")[0] if key.startswith(("linux", "windows")) else "rest") == part]


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "part, some", [("linux", "linux.image.digest"), ("windows", "windows"), ("rest", "syncSecret")]
)
def test_each_value_alone(part: str, some: str) -> None:
    """Each key, maps included, is set to null → the chart renders, and the program accepts its arguments."""
    keys = keys_of(part)
    assert len(keys) > 40 and some in keys
    with ThreadPoolExecutor(2) as pool:
        assert [found for found in pool.map(problem, keys) if found] == []


def test_all_that_the_templates_need_at_once() -> None:
    """Everything that has a default in the templates is set to null → the same objects as without any values."""
    keys = [key for key, value in needed().items() if not isinstance(value, dict)]
    nested = [f"{key}.{name}" for key, value in needed().items() if isinstance(value, dict) for name in value]
    # The resources are in these, and null means none.
    parts = ("linux.driver", "linux.registrar", "linux.livenessProbe", "linux.updateStrategy")
    settings = [f"--set={key}=null" for key in (*keys, *nested) if key not in parts]
    assert len(settings) > 40
    assert chart.render(*settings) == chart.render()


def test_nulls_of_a_parent(tmp_path: Path) -> None:
    """A chart that has ours as a subchart sets values to null → as if a user did."""
    nulls = {"linux": {"metricsAddr": None, "crds": None}, "maxCallRecvMsgSize": None, "syncSecret": None}
    parent = write_parent(tmp_path / "parent", {"secrets-store-csi-driver": nulls})
    done = chart.template(path=parent)
    assert done.returncode == 0, done.stderr
    assert done.stdout == chart.template(path=write_parent(tmp_path / "plain", {})).stdout
