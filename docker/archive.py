"""A docker archive, read: its configuration, its layers, and the file system that they make together."""

import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = Path(os.environ.get("OUTPUT") or ROOT / "build" / "secrets-store-csi.tar")  # as docker/build.sh has it
WHITEOUT = ".wh."


@dataclass(frozen=True)
class Image:
    """One image. ``id`` is the digest of its configuration, by which runtimes know it; ``layers`` are the layers' tar
    files, the base's first."""

    id: str
    config: dict[str, Any]
    layers: tuple[bytes, ...]

    @staticmethod
    def read(path: Path) -> "Image":
        """Read it whole: some 120 MB."""
        with tarfile.open(path) as archive:

            def content(name: str) -> bytes:
                file = archive.extractfile(name)
                assert file is not None, name
                return file.read()

            (manifest,) = json.loads(content("manifest.json"))
            config = content(manifest["Config"])
            layers = tuple(content(name) for name in manifest["Layers"])
            return Image(f"sha256:{hashlib.sha256(config).hexdigest()}", json.loads(config), layers)

    @property
    def labels(self) -> dict[str, str]:
        """Its labels, without the common prefix."""
        found = self.config["config"]["Labels"]
        return {name.removeprefix("org.opencontainers.image."): value for name, value in found.items()}

    @cached_property
    def members(self) -> list[list[tarfile.TarInfo]]:
        """What each layer holds, names without ``./``."""
        found = []
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                found.append(tar.getmembers())
        for member in (member for layer in found for member in layer):
            member.name = member.name.removeprefix("./")
        return found

    @cached_property
    def files(self) -> dict[str, tarfile.TarInfo]:
        """The file system, by path."""
        files: dict[str, tarfile.TarInfo] = {}
        for layer in self.members:
            for member in layer:
                folder, _, name = member.name.rpartition("/")
                if name.startswith(WHITEOUT):
                    gone = f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/")
                    files = {path: item for path, item in files.items() if not f"{path}/".startswith(f"{gone}/")}
                else:
                    files[member.name] = member
        return files

    def unpack(self, directory: Path) -> None:
        """Write the file system out."""
        kept = set(self.files)
        for layer in self.layers:
            with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
                members = [member for member in tar if member.name.removeprefix("./") in kept]
                tar.extractall(directory, members, filter="fully_trusted")
