"""The sentence: a list of rules, and the first that applies is the answer."""

from cli.explain import running, starting
from cli.explain.answers import Answer
from cli.explain.evidence import Evidence


def explain(found: Evidence) -> Answer:
    """The answer for a pod."""
    return next(answer for rule in (*starting.RULES, *running.RULES) for answer in rule(found))
