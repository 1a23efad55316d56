"""What is in the volume, printed when it changes."""

import stat
from pathlib import Path

import click

SHOWN_BYTES = 200


class Volume:
    """The volumes of all pods below kubelet's directory."""

    def __init__(self, pods: Path) -> None:
        self._pods = pods
        self._shown: dict[str, tuple[int, bytes]] = {}

    def show_changes(self) -> bool:
        """Print all files if one has changed; whether there are any."""
        found = self._files()
        if found != self._shown:
            self._shown = found
            click.secho(f"volume: {len(found)} file{'s' * (len(found) != 1)}", fg="green", bold=True)
            for name, (mode, content) in found.items():
                text = content[:SHOWN_BYTES].decode(errors="replace") + ("…" if len(content) > SHOWN_BYTES else "")
                click.echo(f"  {name}  {stat.filemode(mode)}  {len(content)} bytes: {text!r}")
        return bool(found)

    def _files(self) -> dict[str, tuple[int, bytes]]:
        found = {}
        for data in sorted(self._pods.glob("*/volumes/kubernetes.io~csi/*/mount/..data")):
            for path in sorted(data.resolve().rglob("*")):
                try:
                    if path.is_file():
                        name = f"{data.parent.parent.name}/{path.relative_to(data.resolve())}"
                        found[name] = (path.stat().st_mode, path.read_bytes())
                except OSError:  # it was swapped meanwhile: the next look has the new content
                    continue
        return found
