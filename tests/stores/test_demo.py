"""``make demo STORE=openbao``."""

import tempfile
from pathlib import Path

import pytest

from tests.demo.test_demo import STEPS, check_nothing_left, start


@pytest.mark.usefixtures("openbao_program")
def test_to_the_end() -> None:
    """The demo with a real server → every step, in order; exit code 0; nothing is left, also not of the server."""
    with tempfile.TemporaryDirectory(prefix="d") as short:
        demo = start(Path(short), "openbao")
        output, _ = demo.communicate(timeout=90)
        assert demo.returncode == 0, output
        assert "docs/openbao.md" in output and "make demo STORE=openbao" not in output
        positions = [output.index(step) for step in STEPS]
        assert positions == sorted(positions)
        check_nothing_left(Path(short), [])
