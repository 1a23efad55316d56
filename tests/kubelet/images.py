"""Images built from scratch, as docker archives: a pause program of ten lines of C, and a static busybox."""

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PAUSE, BUSYBOX = "localhost/pause:1", "localhost/busybox:1"
_PAUSE_SOURCE = """
#include <signal.h>
#include <unistd.h>
#include <sys/wait.h>
static void end(int n) { _exit(0); }
static void reap(int n) { while (waitpid(-1, 0, WNOHANG) > 0) ; }
int main(void) {
  signal(SIGTERM, end); signal(SIGINT, end); signal(SIGCHLD, reap);
  for (;;) pause();
}
"""
_APPLETS = (
    "sh",
    "cat",
    "ls",
    "sleep",
    "grep",
    "test",
    "id",
    "env",
    "mount",
    "sync",
    "stat",
    "head",
    "wc",
    "true",
    "touch",
)


def pause(directory: Path) -> Path:
    """Build the sandbox image; returns its archive."""
    source, program = directory / "pause.c", directory / "pause"
    source.write_text(_PAUSE_SOURCE)
    subprocess.run(["gcc", "-Os", "-static", "-o", program, source], check=True, timeout=60)
    return archive(directory / "pause.tar", PAUSE, {"pause": program.read_bytes()}, ["/pause"])


def busybox(directory: Path) -> Path:
    """Build the pods' image; returns its archive."""
    program = Path(shutil.which("busybox") or "/bin/busybox").read_bytes()
    return archive(
        directory / "busybox.tar",
        BUSYBOX,
        {"bin/busybox": program},
        ["/bin/sh"],
        links={f"bin/{name}": "busybox" for name in _APPLETS},
    )


def archive(
    path: Path, tag: str, files: Mapping[str, bytes], entrypoint: Sequence[str], links: Mapping[str, str] = {}
) -> Path:
    """A docker archive of one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for name in ("tmp", "etc", "proc", "dev", "sys", "mnt"):
            info = tarfile.TarInfo(name)
            info.type, info.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(info)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
        for name, target in links.items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "config": {"Entrypoint": list(entrypoint), "Env": ["PATH=/bin"]},
            "history": [{"created_by": "tests"}],
        }
    ).encode()
    manifest = json.dumps([{"Config": "config.json", "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for name, content in (("config.json", config), ("layer.tar", layer.getvalue()), ("manifest.json", manifest)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
