"""The results for people, as a table, and for machines, as JUnit XML."""

from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree

from provider_conformance.check import Result

SUITE = "secrets-store-provider-conformance"


def table(results: Sequence[Result]) -> str:
    """A line for each check, and one for all."""
    width = max((len(result.check.name) for result in results), default=0)
    lines = [f"{item.check.name:{width}}  {item.outcome}  {_one_line(item.reason)}".rstrip() for item in results]
    counts = Counter(result.outcome for result in results)
    lines.append(f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['skip']} skipped")
    return "\n".join(lines)


def junit(results: Sequence[Result]) -> bytes:
    """A document with one suite, as CI systems read it; times are in seconds."""
    counts = Counter(result.outcome for result in results)
    seconds = sum(result.seconds for result in results)
    totals = {"tests": len(results), "failures": counts["FAIL"], "errors": 0, "skipped": counts["skip"]}
    suite = ElementTree.Element("testsuite", {"name": SUITE, "time": f"{seconds:.3f}"})
    suite.attrib.update({name: str(value) for name, value in totals.items()})
    for result in results:
        name, time = result.check.name, f"{result.seconds:.3f}"
        case = ElementTree.SubElement(suite, "testcase", classname=SUITE, name=name, time=time)
        if result.outcome != "pass":
            element = "failure" if result.outcome == "FAIL" else "skipped"
            ElementTree.SubElement(case, element, message=_one_line(result.reason))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _one_line(text: str) -> str:
    """A provider's texts may contain anything; XML allows few control characters, and a terminal obeys some."""
    return "".join(character if character.isprintable() else " " for character in text)
