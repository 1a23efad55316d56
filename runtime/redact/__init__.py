"""Redaction: the one place that decides what may be logged, shown or sent as an error.

Tokens, secrets and volume contexts never reach a log, an error text, an event or a status page. Requests are shown
field by field, with secret fields withheld (``messages``). From texts of other programs (a provider's error, an API
server's response) the secrets of the call that they are about are removed (``values``), everything that looks like a
credential (``patterns``), and characters that are not visible (``controls``); their length is limited.
"""

from runtime.redact.controls import visible, visible_lines
from runtime.redact.messages import is_secret_name, message, secrets_of
from runtime.redact.patterns import WITHHELD
from runtime.redact.patterns import mask as mask_patterns
from runtime.redact.values import held, withhold, withholding
from runtime.redact.values import mask as mask_values

__all__ = [
    "MAX_TEXT_LENGTH", "WITHHELD", "held", "is_secret_name", "line", "lines", "mask", "message", "secrets_of", "text",
    "visible", "withhold", "withholding",
]  # fmt: skip  # one line for each would hide the list

MAX_TEXT_LENGTH = 1024
# Longer texts are cut before they are searched: some patterns take quadratic time.
_MAX_SEARCHED_LENGTH = 8 * MAX_TEXT_LENGTH


def text(value: object) -> str:
    """``str(value)`` on one line, without anything that looks like a credential, cut to ``MAX_TEXT_LENGTH``
    characters."""
    result = mask(visible(str(value)[:_MAX_SEARCHED_LENGTH]))
    return result if len(result) <= MAX_TEXT_LENGTH else result[:MAX_TEXT_LENGTH] + "…"


def line(value: str) -> str:
    """As ``text``, for a line of output: its spaces stay as they are, and it may be longer."""
    result = mask(" ".join(visible_lines(value[:_MAX_SEARCHED_LENGTH]).splitlines()))
    return result if len(value) <= _MAX_SEARCHED_LENGTH else result + "…"


def lines(value: object, longest: int = 4 * _MAX_SEARCHED_LENGTH) -> str:
    """As ``text``, but with its line breaks, and longer: a stack."""
    return mask(visible_lines(str(value)[:longest]))


def mask(text: str) -> str:
    """The text unchanged except for secrets of the current call, and what looks like a credential."""
    return mask_patterns(mask_values(text))
