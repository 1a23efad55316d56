"""Build the pinned Go programs that the tests run against, once, into a cache outside the tree.

    python -m tests.cluster.build [sanity] [helm] [apiserver] [node]     (all of them without an argument)

prints the path of every program, one a line. Versions are pinned by the ``go.mod`` of each group and by nothing else.
The environment's ``KUBERNETES=1.XX`` chooses a release of ``releases.py``; each has a cache directory of its own.
Callers at the same time wait for one another; what is already built is not built again. Exits with 3, and one line, on
a machine without Go.
"""

import argparse
import fcntl
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import releases
from tests.cluster.releases import RELEASE, TESTS, required_version

FAILED, NO_GO = 1, 3


@dataclass(frozen=True)
class Group:
    """Programs (name to package) of one Go module that are built together, and the dependency whose version counts."""

    directory: str
    module: str
    packages: Mapping[str, str]

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs' names."""
        return tuple(self.packages)

    @property
    def version(self) -> str:
        """The version that the group's ``go.mod`` requires."""
        return required_version(self.directory, self.module)

    @property
    def home(self) -> Path:
        """The cache directory of this group's programs in this version."""
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        return cache / "secrets-store-csi" / "bin" / f"{_last_element(self.module)}-{self.version}"

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of the programs that are not built yet."""
        return tuple(name for name in self.programs if not (self.home / name).is_file())


def _last_element(package: str) -> str:
    """The name that Go gives a program: the last part of its import path that is no version."""
    return re.sub(r"/v\d+$", "", package).rpartition("/")[2]


def _kubernetes(*names: str) -> dict[str, str]:
    return {name: f"k8s.io/kubernetes/cmd/{name}" for name in names}


def groups(release: str) -> dict[str, Group]:
    """All groups; those of Kubernetes in ``release``, such as 1.34."""
    directory = releases.directory(release)
    return {
        "sanity": Group(
            "conformance",
            "github.com/kubernetes-csi/csi-test/v5",
            {
                "csi-sanity": "github.com/kubernetes-csi/csi-test/v5/cmd/csi-sanity",
            },
        ),
        "helm": Group("helm", "helm.sh/helm/v3", {"helm": "helm.sh/helm/v3/cmd/helm"}),
        # etcd is of the release that this Kubernetes is made with; Debian's is older and lacks progress notifications,
        # without which a watch without a resource version fails.
        "apiserver": Group(
            directory,
            "k8s.io/kubernetes",
            {
                "etcd": "go.etcd.io/etcd/server/v3",
                **_kubernetes("kube-apiserver", "kube-controller-manager", "kubectl"),
            },
        ),
        "node": Group(directory, "k8s.io/kubernetes", _kubernetes("kube-scheduler", "kubelet")),
    }


GROUPS = groups(RELEASE)


def path(program: str) -> Path:
    """Where a program is, or will be once it is built."""
    for group in GROUPS.values():
        if program in group.programs:
            return group.home / program
    raise LookupError(f"{program} is not among the programs that tests/cluster/build.py knows")


def ensure(name: str) -> list[Path]:
    """Build the group ``name`` unless it is there; the paths of its programs."""
    group = GROUPS[name]
    if group.missing:
        with _locked(group.home):
            if group.missing:
                _compile(name, group)
    return [group.home / program for program in group.programs]


def _compile(name: str, group: Group) -> None:
    """Compile into a directory of its own and move the results, so that a half-written program is never run."""
    print(f"building {', '.join(group.programs)} {group.version} …", file=sys.stderr, flush=True)
    started = time.monotonic()
    unfinished = group.home / f".{name}"
    unfinished.mkdir(exist_ok=True)
    # Kubernetes 1.30 still has cloud providers; no test needs them.
    command = ["go", "build", "-buildvcs=false", "-trimpath", "-tags=providerless", "-ldflags", _linker_flags(group)]
    subprocess.run(
        [*command, "-o", f"{unfinished}/", *group.packages.values()],
        cwd=TESTS / group.directory,
        env={**os.environ, "CGO_ENABLED": "0", "GOWORK": "off"},
        check=True,
    )
    for program, package in group.packages.items():
        (unfinished / _last_element(package)).replace(group.home / program)
    unfinished.rmdir()
    print(f"built {', '.join(group.programs)} in {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)


def _linker_flags(group: Group) -> str:
    """Without symbols; Kubernetes programs report the version they are, since clients decide by it."""
    flags = ["-s", "-w"]
    if group.module == "k8s.io/kubernetes":
        major, minor, _ = group.version.removeprefix("v").split(".")
        values = {"gitVersion": group.version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
        flags += [f"-X k8s.io/component-base/version.{key}={value}" for key, value in values.items()]
    return " ".join(flags)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Hold the lock of a cache directory; the kernel lets go of it however the builder ends."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(arguments: list[str] | None = None) -> int:
    """Build the named groups and print their programs' paths."""
    description = "Build the pinned Go programs that the tests run against, once, into a cache."
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.build", description=description)
    parser.add_argument("groups", nargs="*", metavar="group", help=f"any of {', '.join(GROUPS)}; all by default")
    named = parser.parse_args(arguments).groups or list(GROUPS)
    if RELEASE not in releases.RELEASES:
        parser.error(f"KUBERNETES={RELEASE} is not pinned; there are {', '.join(releases.RELEASES)}")
    if unknown := [name for name in named if name not in GROUPS]:
        parser.error(f"no group is called {unknown[0]!r}; there are {', '.join(GROUPS)}")
    if shutil.which("go") is None and any(GROUPS[name].missing for name in named):
        needed = "Go 1.24 or later, 1.26 for Kubernetes 1.37"
        print(f"no Go on this machine: {', '.join(named)} cannot be built; install {needed}", file=sys.stderr)
        return NO_GO
    for name in named:
        try:
            print(*ensure(name), sep="\n", flush=True)
        except subprocess.CalledProcessError as error:
            print(f"building {name} failed: go ended with {error.returncode}", file=sys.stderr)
            return FAILED
    return 0


if __name__ == "__main__":
    sys.exit(main())
