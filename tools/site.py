"""The hook of mkdocs.yml: pages that are not in ``docs/`` (the README is the start page), pages that are generated from
the code, and links to files of the repository that are no pages."""

import posixpath
import re
from pathlib import Path
from typing import Any

import click
import yaml
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Pages of the repository's first level, and where the site has them.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "", "CHANGELOG.md": "", "SECURITY.md": ""}
CRDS = ("helm/crds/*.yaml", "helm/files/secretsyncs.yaml")
# Names of fields, flags and values are not broken.
STYLE = ".md-typeset td:first-child code { white-space: nowrap; overflow-wrap: normal; }\n"
_LINK = re.compile(r"(\]\(|(?:src|href|srcset)=\")(?!\w+:|#)([^)#\"]+)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages, and the files that they link to."""
    for name, target in PAGES.items():
        text = _moved((ROOT / name).read_text(), "", files, config)
        files.append(File.generated(config, target or name, content=text))
    for file in list(files.documentation_pages()):
        if file.abs_src_path is not None:
            file.content_string = _moved(file.content_string, "docs", files, config)
    files.append(File.generated(config, "site.css", content=STYLE))
    files.append(File.generated(config, "fields.md", content=fields_page()))
    files.append(File.generated(config, "commands.md", content=commands_page()))
    return files


def _moved(text: str, directory: str, files: Files, config: MkDocsConfig) -> str:
    """A page of a directory of the repository, with links as the site has them. What they link to and is not a page is
    put into the site, below ``files``; a link to nothing is left, and mkdocs complains."""

    def move(match: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(directory, match[2]))
        if path in PAGES:
            return match[1] + (PAGES[path] or path)
        if path.startswith("docs/"):
            return match[1] + path.removeprefix("docs/")
        if (ROOT / path).is_dir():
            path = f"{path}/README.md"
        if not (ROOT / path).is_file():
            return match[0]
        # As text: a browser shows it, and mkdocs does not take it for a page.
        target = f"files/{path}.txt"
        if files.get_file_from_path(target) is None:
            files.append(File.generated(config, target, content=(ROOT / path).read_text()))
        return match[1] + target

    return _LINK.sub(move, text)


def fields_page() -> str:
    """Every field of the custom resources, from their CRDs."""
    text = "# Fields of the custom resources\n\nGenerated from the CRDs, which the chart installs.\n"
    for path in sorted(path for pattern in CRDS for path in ROOT.glob(pattern)):
        spec = yaml.safe_load(path.read_text())["spec"]
        version = next(item for item in spec["versions"] if item["storage"])
        schema = version["schema"]["openAPIV3Schema"]
        text += f"\n## {spec['names']['kind']}\n\n`apiVersion: {spec['group']}/{version['name']}`. "
        text += f"{_line(schema)}\n\n| field | type | what it is |\n| --- | --- | --- |\n"
        for part in ("spec", "status"):
            text += "".join(_rows(schema["properties"].get(part, {}), part))
    return text


def _rows(schema: Any, path: str) -> list[str]:
    """A line for each field below ``path``."""
    rows = []
    for name, field in schema.get("properties", {}).items():
        below = f"{path}.{name}"
        required = ", required" if name in schema.get("required", ()) else ""
        rows.append(f"| `{below}` | {_type(field)}{required} | {_line(field)} |\n")
        rows += _rows(field, below)
        rows += _rows(field.get("items", {}), f"{below}[]")
    return rows


def _type(field: Any) -> str:
    kind = str(field.get("type", "any"))
    if kind == "array":
        return f"list of {_type(field['items'])}"
    if "additionalProperties" in field:
        return f"map of {_type(field['additionalProperties'])}"
    values = f": {', '.join(f'`{value}`' for value in field['enum'])}" if "enum" in field else ""
    return {"object": "map"}.get(kind, kind) + values


def _line(field: Any) -> str:
    """A description in one line of a table."""
    return " ".join(str(field.get("description", "")).split()).replace("|", "\\|").replace("<", "&lt;")


def commands_page() -> str:
    """What ``--help`` says of ``secrets-store`` and each of its subcommands."""
    from cli.main import PROGRAM, main

    text = "# All commands and options\n\nGenerated: what `--help` says. [cli.md](cli.md) explains it with examples.\n"
    return text + "".join(_help(main, PROGRAM, None))


def _help(command: click.Command, name: str, parent: click.Context | None) -> list[str]:
    context = click.Context(command, info_name=name, parent=parent, max_content_width=100, terminal_width=100)
    found = [f"\n## {context.command_path}\n\n```text\n{command.get_help(context)}\n```\n"]
    for sub, item in sorted(getattr(command, "commands", {}).items()):
        found += _help(item, sub, context)
    return found
