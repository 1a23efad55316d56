"""Every flag of the container as a Markdown table: ``python -m container.reference`` writes docs/flags.md."""

from container.main import PROBE_FLAGS, REGISTRAR_FLAGS
from driver.config import GO_ONLY, DriverConfig
from probe.config import ProbeConfig
from registrar.config import RegistrarConfig
from runtime.flags import Flag, flags_of, format_value

HEAD = """# Flags

The container's command line. The three roles also run alone, as `secrets-store-csi-driver`,
`secrets-store-csi-registrar` and `secrets-store-csi-probe`, with exactly the flags of their Go originals and ours
beside them (`--help` lists them). Spelling is Go's: `-x`, `--x`, `--x=v`, `--x v`; a boolean takes its value only
after `=`; durations are written `2m30s`.

This page is written by `python -m container.reference > docs/flags.md`; a test compares the two.
"""


def table() -> str:
    """The page."""
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
    return "\n".join(parts)


def _renamed(spec: type, names: dict[str, str]) -> list[tuple[str, Flag]]:
    known = {item.field: item for item in flags_of(spec)}
    return [(name, known[field]) for field, name in names.items()]


if __name__ == "__main__":
    print(table())
