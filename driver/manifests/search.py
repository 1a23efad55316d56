"""What a class that is looked for in files is, or why it was not found."""

from pathlib import Path

from driver.manifests import schema
from driver.manifests.documents import Document
from driver.objects.classes import KIND, parse_class
from driver.ports import ClassRef, ProviderClass
from runtime.errors import PreconditionFailed

# How many of the mistakes in a class an error names.
_SHOWN = 3


class Others:
    """What was seen while a class was looked for: why it may not have been found."""

    def __init__(self, class_ref: ClassRef) -> None:
        self._class_ref = class_ref
        self.unreadable = ""
        self._elsewhere: set[str] = set()
        self._names: set[str] = set()
        self._misspelt = ""

    def note(self, document: Document, path: Path) -> None:
        """Remember another document than the class."""
        kind, class_ref = identity(document)
        if kind == KIND and class_ref is None:
            self.unreadable = self.unreadable or _sentence(document, path)
        elif kind == KIND and class_ref is not None:
            if class_ref.name == self._class_ref.name:
                self._elsewhere.add(class_ref.namespace)
            elif class_ref.namespace == self._class_ref.namespace:
                self._names.add(class_ref.name)
        elif class_ref is not None and class_ref.name == self._class_ref.name:
            self._misspelt = self._misspelt or _sentence(document, path)

    def hint(self) -> str:
        """The end of the sentence that it was not found."""
        if self._misspelt:
            return f": {self._misspelt}"
        if self._elsewhere:
            others = ", ".join(sorted(self._elsewhere))
            return (
                f": there is one in namespace {others}, and a class must be in the namespace of its pod: "
                f"{self._class_ref.namespace}"
            )
        return schema.did_you_mean(self._class_ref.name, self._names)


def identity(document: Document) -> tuple[str, ClassRef | None]:
    """Kind, and namespace and name; None if these are not texts."""
    value = document.value if isinstance(document.value, dict) else {}
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kind, name, namespace = value.get("kind"), metadata.get("name"), metadata.get("namespace") or "default"
    class_ref = ClassRef(namespace, name) if isinstance(name, str) and isinstance(namespace, str) else None
    return kind if isinstance(kind, str) else "", class_ref


def _sentence(document: Document, path: Path) -> str:
    """The mistakes in an object, with their lines; empty if there is none."""
    problems = schema.check(document.value)
    shown = "; ".join(f"line {document.line(problem.path)}: {problem}" for problem in problems[:_SHOWN])
    more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return f"{path} {shown}{more}" if problems else ""


def class_of(document: Document, path: Path) -> ProviderClass:
    """Raises PreconditionFailed for a class that an API server would refuse."""
    sentence = _sentence(document, path)
    if sentence:
        raise PreconditionFailed(sentence)
    return parse_class(document.value)
