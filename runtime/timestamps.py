"""Unix time as Kubernetes writes it (RFC 3339, https://www.rfc-editor.org/rfc/rfc3339#section-5.6)."""

from datetime import UTC, datetime

# The last second of the year 9999: RFC 3339 has four digits.
_LAST = 253_402_300_799.0


def timestamp(seconds: float) -> str:
    """Unix time as text, in whole seconds, UTC; what no text can say becomes the nearest time that one can."""
    return datetime.fromtimestamp(int(min(max(0.0, seconds), _LAST)), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_timestamp(text: object) -> float | None:
    """Unix time from text; None for anything that is not a valid time."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).timestamp()
    except (ValueError, OverflowError):
        return None
