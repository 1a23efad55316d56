"""Reads the files and runs all checks on the objects in them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from cli.findings import Finding
from cli.validate import classes, users
from cli.validate.problems import Checked, Object
from driver.manifests import documents, schema
from driver.manifests.documents import Document
from driver.objects.classes import KIND as CLASS_KIND
from driver.objects.names import is_object_name

_LIST = "List"


@dataclass(frozen=True)
class Source:
    """The content of a file, and its name as the user wrote it."""

    name: str
    content: bytes = field(repr=False)


class Files:
    """Some files that are checked together."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = sources
        self._unreadable: list[Finding] = []
        self._objects = [item for source in sources for item in self._read(source)]

    def summary(self) -> str:
        """What there was to check."""
        kinds = Counter(item.kind for item in self._objects if item.kind in schema.kinds() or users.pod_spec(item))
        shown = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items())) or "nothing to check"
        return f"{len(self._sources)} file{'s' if len(self._sources) != 1 else ''} with {shown}"

    def check(self, *, partial: bool) -> Iterator[Finding]:
        """All problems. ``partial``: classes may be elsewhere, too."""
        yield from self._unreadable
        known = [item for item in self._objects if item.kind == CLASS_KIND]
        seen: dict[tuple[str, str, str], Object] = {}
        for item in self._objects:
            problems = [Checked(found.path, found.sentence) for found in schema.check(item.value)]
            if item.kind in schema.kinds():
                problems += [*_names(item), *self._repeated(item, seen)]
            if not problems and item.kind == CLASS_KIND:
                problems = list(classes.check(item.value))
            elif not problems:
                problems = list(users.check(item, known, partial=partial))
            for problem in problems:
                yield item.finding(problem)

    @staticmethod
    def _repeated(item: Object, seen: dict[tuple[str, str, str], Object]) -> Iterator[Checked]:
        first = seen.setdefault((item.kind, item.namespace, item.name), item)
        if item.name and first is not item:
            sentence = f"{item.kind} {item.name} is already in {first.file} line {first.document.line()}: remove one"
            yield Checked(("metadata", "name"), sentence)

    def _read(self, source: Source) -> Iterator[Object]:
        try:
            for document in documents.parse(source.content.decode(), source.name):
                for part in _parts(document):
                    yield Object(source.name, part)
        except UnicodeDecodeError:
            self._unreadable.append(Finding(source.name, 0, "", documents.NOT_UTF_8))
        except documents.NotYaml as failure:
            self._unreadable.append(Finding(source.name, failure.line, "", failure.sentence))


def _names(item: Object) -> Iterator[Checked]:
    """https://kubernetes.io/docs/concepts/overview/working-with-objects/names/"""
    for part, name, signs in (("name", item.name, "-."), ("namespace", item.namespace, "-")):
        if name and not (is_object_name(name) and ("." in signs or "." not in name)):
            allowed = f"lower case letters, digits, {' and '.join(signs)}"
            yield Checked(("metadata", part), f"it may have {allowed}, and must begin and end with a letter or digit")


def _parts(document: Document) -> Iterator[Document]:
    """The objects of a document, which may be a List."""
    value = document.value
    if not isinstance(value, dict):
        return
    if value.get("kind") == _LIST and isinstance(value.get("items"), list):
        parts = (document.below(("items", number)) for number in range(len(value["items"])))
        yield from (part for part in parts if isinstance(part.value, dict))
    else:
        yield document
