"""The notes after an install: what is on, what is missing, and a class and a pod that can be applied."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from cli.main import main
from tests.helm import chart
from tests.helm.notes import notes

IMAGE = "linux.image.repository=registry.example/secrets-store-csi"


def sample(text: str) -> list[dict[str, Any]]:
    """The objects that the notes tell to apply; not indented, so that a shell finds the end of the text."""
    block = re.search(r"^kubectl apply -f - <<'END'\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    assert block is not None, text
    return [item for item in yaml.safe_load_all(block[1]) if item]


@pytest.mark.parametrize(
    "settings, said, unsaid",
    [
        ("", ["MISSING, an image", "MISSING, perhaps, a provider", "syncSecret.enabled=true grants"], ["tokens"]),
        (IMAGE, ["MISSING, perhaps, a provider", "off  alerts (prometheusRule.enabled)"], ["MISSING, an image"]),
        (
            f"{IMAGE},providers.openbao.enabled=true,syncSecret.enabled=true",
            ["MISSING, perhaps, tokens", "on   copies in Kubernetes Secrets"],
            ["a provider:", "syncSecret.enabled=true grants", "PROVIDER"],
        ),
        (
            f"{IMAGE},providers.openbao.enabled=true,tokenRequests[0].audience=vault,enableSecretRotation=true",
            ["on   rotation of mounted secrets (enableSecretRotation)"],
            ["MISSING"],
        ),
        ("linux.enabled=false,windows.enabled=true", ["Windows nodes run the Go driver"], ["rollout", "an image"]),
    ],
)
def test_what_is_missing(tmp_path: Path, settings: str, said: list[str], unsaid: list[str]) -> None:
    """A sentence for each thing without which no pod gets secrets, and none for what is there."""
    text = notes(tmp_path, f"--set={settings}")
    assert [part for part in said if part not in text] == [], text
    assert [part for part in unsaid if part in text] == [], text


@pytest.mark.parametrize(
    "settings, path",
    [
        ("", chart.CHART),
        ("providers.openbao.enabled=true,providers.openbao.name=vault", chart.CHART),
        ("", chart.SYNC_CHART),
    ],
)
def test_the_sample_can_be_applied(tmp_path: Path, settings: str, path: Path) -> None:
    """What the notes tell to apply has no error, and the names in it are those of the release."""
    objects = sample(notes(tmp_path, f"--set={settings}", path=path))
    file = tmp_path / "sample.yaml"
    file.write_text(yaml.safe_dump_all(objects))
    done = CliRunner().invoke(main, ["validate", "--partial", str(file)])
    assert done.exit_code == 0 and "warning" not in done.output, done.output
    if path == chart.CHART:
        assert objects[0]["spec"]["provider"] == ("vault" if settings else "PROVIDER")


def test_the_lines_are_of_a_readable_length(tmp_path: Path) -> None:
    """Nothing of the notes is wider than a wide terminal, and no value is left out."""
    for path in (chart.CHART, chart.SYNC_CHART):
        text = notes(tmp_path / path.name, path=path)
        assert "<no value>" not in text and "%!" not in text
        assert max(map(len, text.splitlines())) <= 160
