"""The benchmark still runs: ten publishes, no API server."""

from pathlib import Path

from bench import publishing, report
from bench.drivers import OURS, Driver
from bench.effort import Effort
from bench.figures import Figures
from bench.rig import BenchRig


def test_ten_publishes_make_a_report(tmp_path: Path) -> None:
    """A driver as a process, a provider, the load generator: ten volumes come and go, and are in the table."""
    figures = Figures()
    with BenchRig(tmp_path, cluster=False) as rig:
        rig.write_class("small")
        driver = Driver("ours", OURS, rig)
        try:
            publishing.starts([driver], figures, Effort(rounds=1))
            pods = rig.pods(10, "small")
            figures["burst30"].add(driver.name, driver.publish(pods)["total"])
            assert len(list(driver.pods_dir.glob("*/volumes/*/secrets/mount/file-0"))) == len(pods)
            driver.unpublish(pods)
            assert not list(driver.pods_dir.glob("*/volumes/*/secrets/mount"))
        finally:
            driver.stop()
    text = report.markdown(figures, "ours", None, {}, report.about("the smoke test", None), {})
    assert "| burst of 30, total time | s |" in text
