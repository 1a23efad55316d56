"""The stub as a command, and its configuration."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
import yaml

from kubelet_stub.config import Config
from runtime.errors import ConfigurationError
from tests.kubelet_stub.mounting_driver import MountingDriver, registering, serving
from tests.kubelet_stub.rig import pod

COMMAND = [sys.executable, "-c", "import sys; from kubelet_stub.main import main; sys.exit(main())"]


def test_runs_pods_until_a_signal(tmp_path: Path) -> None:
    """Two pods of a file, then SIGTERM → both mounted, both unpublished, exit code 0, nothing left."""
    driver = MountingDriver()
    manifest = tmp_path / "pods.yaml"
    manifest.write_text(yaml.safe_dump_all([pod("one"), {"kind": "Service"}, pod("two")]))

    async def run() -> None:
        root = tmp_path / "k"
        async with asyncio.timeout(20), serving(driver, tmp_path), registering(driver, root / "plugins_registry"):
            process = await asyncio.create_subprocess_exec(
                *COMMAND, "--root", str(root), f"--pod={manifest}", stderr=asyncio.subprocess.PIPE
            )
            assert process.stderr is not None
            mounted: set[bytes] = set()
            while len(mounted) < 2:
                line = await process.stderr.readline()
                assert line, "the stub ended early"
                mounted |= {line} if b'reason="VolumeMounted"' in line else set()
            process.send_signal(signal.SIGTERM)
            await process.stderr.read()
            assert await process.wait() == 0
        assert len(driver.requests("NodeUnpublishVolume")) == 2 and list((root / "pods").iterdir()) == []

    asyncio.run(run())


@pytest.mark.parametrize("content", ["kind: [Pod", "kind: Pod\nx: 2001-02-30", "x: !!bool maybe"])
def test_broken_manifest(tmp_path: Path, content: str) -> None:
    """The pod file is not YAML, or a value is of another type → exit code 1 and one sentence that names the file."""
    manifest = tmp_path / "bad.yaml"
    manifest.write_text(content)

    async def run() -> None:
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "--root", str(tmp_path), "--pod", str(manifest), stderr=asyncio.subprocess.PIPE
        )
        _, output = await process.communicate()
        assert process.returncode == 1
        assert f"cannot read pods from {manifest}".encode() in output and b"Traceback" not in output

    asyncio.run(run())


def test_defaults_are_kubelets() -> None:
    """Nothing is configured → kubelet's own intervals, timeouts and directories."""
    config = Config(root="/k")
    assert [config.republish_interval, config.stats_interval, config.plugin_poll_interval] == [60.0, 60.0, 10.0]
    assert [config.publish_timeout, config.backoff_base, config.backoff_cap] == [120.0, 0.5, 122.0]
    assert config.registry_directory == Path("/k/plugins_registry") and config.pods_directory == Path("/k/pods")


@pytest.mark.parametrize(("root", "text"), [("", "--root is required"), ("relative", "absolute")])
def test_root_is_required(root: str, text: str) -> None:
    """``--root`` is missing or relative → an error that says so."""
    with pytest.raises(ConfigurationError, match=text):
        Config(root=root)
