"""Every flag of the container, and of the sync controller, in Markdown tables:
``python -m container.reference > docs/flags.md``."""

from container.main import PROBE_FLAGS, REGISTRAR_FLAGS
from driver.config import GO_ONLY, DriverConfig
from driver.secretsync.config import GO_ONLY as SYNC_GO_ONLY
from driver.secretsync.config import SyncConfig
from probe.config import ProbeConfig
from registrar.config import RegistrarConfig
from runtime.flags import Flag, flags_of, format_value

HEAD = """# Flags

The container's command line. Each of the three roles is also a command of its own (`secrets-store-csi-driver`,
`secrets-store-csi-registrar`, `secrets-store-csi-probe`), with all flags of its Go original and some more (`--help`
lists them). Flags are written as in Go: `-x`, `--x`, `--x=v`, `--x v`; a boolean takes its value only after `=`;
durations are written `2m30s`. The controller of SecretSyncs ([secrets-without-a-pod.md](secrets-without-a-pod.md)) is a
program of its own, `secrets-store-csi-sync`, and has flags of its own.

`python -m container.reference > docs/flags.md` generates this page; a test checks that it is current.
"""


def table() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, rows in (
        ("The driver's", [(item.name, item) for item in flags_of(DriverConfig)]),
        ("The registrar's", _renamed(RegistrarConfig, REGISTRAR_FLAGS)),
        ("The probe's", _renamed(ProbeConfig, PROBE_FLAGS)),
    ):
        parts.append(f"## {title}\n\n| flag | default | meaning |\n| --- | --- | --- |")
        parts.append(
            "\n".join(f"| `--{name}` | `{format_value(item.default)}` | {item.help} |" for name, item in rows) + "\n"
        )
    parts.append("## Accepted without effect\n\n| flag | why |\n| --- | --- |")
    parts.append("\n".join(f"| `--{item.name}` | {item.why} |" for item in GO_ONLY))
    parts.append("\n## The sync controller's\n\n| flag | default | meaning |\n| --- | --- | --- |")
    parts.append(
        "\n".join(
            f"| `--{item.name}` | `{format_value(item.default)}` | {item.help} |" for item in flags_of(SyncConfig)
        )
    )
    names = ", ".join(f"`--{item.name}`" for item in SYNC_GO_ONLY)
    parts.append(f"\nAccepted without effect, since {SYNC_GO_ONLY[0].why}: {names}.")
    return "\n".join(parts)


def _renamed(spec: type, names: dict[str, str]) -> list[tuple[str, Flag]]:
    known = {item.field: item for item in flags_of(spec)}
    return [(name, known[field]) for field, name in names.items()]


if __name__ == "__main__":
    print(table())
