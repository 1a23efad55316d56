"""``secrets-store dev``: the driver, a kubelet stub and a provider in one, for the author of a provider. It prints the
volume, and starts anew what has changed.

1. It enters a mount namespace of its own, so that nothing is left on the machine.
2. In a directory for this run it starts the provider, the container with ``--manifests``, and the kubelet stub with a
   pod.
3. Twice a second it looks at the files: the provider is restarted if its file has changed, the class is copied to the
   manifests, the kubelet stub is restarted for another pod. What changes in the volume is printed.
"""

import shutil
import tempfile
import time
from pathlib import Path

import click

from cli.dev import namespaces
from cli.dev.setup import Setup
from cli.dev.stopping import interrupt_once
from cli.dev.volume import Volume

LOOK_SECONDS = 0.5
_FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.option("--provider", required=True, type=_FILE, help="The provider: my.py, or a program.")
@click.option("--class", "class_file", required=True, type=_FILE, help="The class.")
@click.option("--pod", type=_FILE, help="The pod; default: one with a volume of the class.")
@click.option("--once", is_flag=True, help="End when the volume is mounted; exit code 1 if it is not in time.")
@click.option("--seconds", default=30.0, show_default=True, help="How long --once waits.")
def dev(provider: str, class_file: str, pod: str | None, once: bool, seconds: float) -> None:
    """Run a provider with a driver and a kubelet stub, and print the volume.

    No cluster is needed; root, or a kernel that allows user namespaces, is. The files are watched: the provider is
    restarted, and the content fetched again, when they change. Ctrl-C ends everything.
    """
    try:
        namespaces.enter()
    except namespaces.Refused as refused:
        raise click.ClickException(str(refused)) from None
    interrupt_once()
    directory = Path(tempfile.mkdtemp(prefix="ss-dev-"))
    setup = Setup(directory, Path(provider), Path(class_file), Path(pod) if pod else None)
    try:
        setup.start()
        mounted = _watch(setup, once, seconds)
    except KeyboardInterrupt:
        mounted = True
    finally:
        setup.stop()
        shutil.rmtree(directory, ignore_errors=True)
    raise SystemExit(0 if mounted else 1)


def _watch(setup: Setup, once: bool, seconds: float) -> bool:
    """Whether the volume was mounted; without ``once`` it ends only by an exception."""
    volume, end = Volume(setup.pods_directory), time.monotonic() + seconds
    while True:
        setup.reload()
        setup.show_problems()
        if volume.show_changes() and once:
            return True
        if once and time.monotonic() > end:
            setup.show_logs()
            return False
        time.sleep(LOOK_SECONDS)
