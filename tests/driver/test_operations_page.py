"""docs/operations.md documents every event and every field of the pod status."""

import ast
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "operations.md").read_text()
# What stands for something else in a quoted message, and what the code puts in as a value.
PLACEHOLDER = re.compile(r"…|\b(?:NS/NAME|NAME|FIELD|[ABX])\b|\btls\.(?:key|crt)\b|422 Invalid")


def reasons() -> set[str]:
    """Every CamelCase word in the modules that make events: their reasons, and the few that are something else."""
    found: set[str] = set()
    for path in (ROOT / "driver").rglob("*.py"):
        text = path.read_text()
        if "PodEvent(" in text:
            for node in ast.walk(ast.parse(text)):
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_word(node.value):
                    found.add(node.value)
    return found


def _is_word(text: str) -> bool:
    return text.isalpha() and text[0].isupper() and sum(letter.isupper() for letter in text) > 1


def test_every_event_is_documented() -> None:
    """A reason in the code is a row of the page; so is every other word that users may meet."""
    found = reasons() - {"RefreshFailed", "NodePublishVolume"}
    assert {"SecretRefreshFailed", "FailedToCreateSecret", "ReservedParameter"} <= found
    assert [word for word in sorted(found) if f"`{word}`" not in PAGE] == []


def test_every_field_of_the_pod_status_is_documented() -> None:
    """A field of the CRD's status is a row of the page."""
    crd = yaml.safe_load((ROOT / "helm" / "crds" / "secretproviderclasspodstatuses.yaml").read_text())
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    fields = schema["properties"]["status"]["properties"]
    assert [name for name in fields if f"`status.{name}" not in PAGE] == []


def messages() -> list[str]:
    """The messages that the page quotes: the first column of its tables of messages."""
    found: list[str] = []
    for table in re.findall(r"^\| message \|.*\n((?:\|.*\n)+)", PAGE, re.MULTILINE):
        for row in table.splitlines()[1:]:
            found += re.findall(r"`([^`]+)`", row.split(" | ")[0])
    return found


def test_quoted_messages_are_the_codes() -> None:
    """Every part of a quoted message, between its placeholders, is in a string of the driver: people search for it."""
    strings = {
        node.value
        for path in (ROOT / "driver").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    parts = [(text, part.strip(" :()")) for text in messages() for part in PLACEHOLDER.split(text)]
    assert len(parts) > 20
    assert [(text, part) for text, part in parts if not any(part in string for string in strings)] == []
