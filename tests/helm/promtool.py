"""The real promtool, of Debian's package ``prometheus``, which ``.ci/install test`` installs."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

Rule = dict[str, Any]


def needed() -> None:
    """Skip the test where there is no promtool and no apt to install it with; elsewhere its absence is a failure."""
    if shutil.which("promtool") is None:
        text = "promtool is not installed: .ci/install test"
        if shutil.which("apt-get") is None and not os.environ.get("SECRETS_STORE_REQUIRE_CLUSTER"):
            pytest.skip(f"{text}, which needs apt")
        pytest.fail(text)


def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run promtool with a text on its standard input."""
    needed()
    return subprocess.run(["promtool", *arguments], input=given, capture_output=True, text=True, timeout=60)


def write_rules(path: Path, rules: list[Rule]) -> Path:
    """A rule file of Prometheus' own."""
    path.write_text(yaml.safe_dump({"groups": [{"name": "alerts", "rules": rules}]}, sort_keys=False))
    return path
