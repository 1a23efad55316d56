"""Bearer tokens as people and tools write them: with a newline at the end, a byte order mark, or spaces around."""

import re
from collections.abc import Callable

from runtime import clock, logs
from runtime.errors import ConfigurationError

log = logs.get(__name__)

# kubelet rotates a token long before it expires; client-go reads the file as often.
REFRESH_SECONDS = 60.0
LARGEST_TOKEN_BYTES = 64 * 1024
BYTE_ORDER_MARK = "\ufeff"
_TOKEN = re.compile(r"[!-~]+")


def clean(text: str, source: str) -> str:
    """The token without what is around it. Raises ConfigurationError, which names the ``source`` and says what to do,
    for a text that cannot be sent as a token."""
    token = text.strip().strip(BYTE_ORDER_MARK).strip()
    if not token:
        raise ConfigurationError(f"{source} is empty: it must contain the token")
    if not _TOKEN.fullmatch(token):
        raise ConfigurationError(f"{source} contains more than a token: write the token alone, in one line of ASCII")
    return token


def read(path: str) -> str:
    """The token in a file. Raises ConfigurationError."""
    try:
        with open(path, "rb") as file:
            content = file.read(LARGEST_TOKEN_BYTES + 1)
        if len(content) > LARGEST_TOKEN_BYTES:
            raise ConfigurationError(f"{path} is larger than {LARGEST_TOKEN_BYTES} bytes: no token is as long")
        return clean(content.decode(), path)
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not text in UTF-8: write the token alone, in one line of ASCII") from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None


class TokenFile:
    """The token in a file that is rotated. Raises ConfigurationError if there is none at first; later the one from
    before is kept, as the file may be half written, and the API server says when it has expired."""

    def __init__(self, path: str, now: Callable[[], float] = clock.now) -> None:
        self._path = path
        self._now = now
        self._token, self._read_at, self._problem = read(path), now(), ""

    def current(self) -> str:
        """The token; the file is read at most every REFRESH_SECONDS."""
        now = self._now()
        if now - self._read_at >= REFRESH_SECONDS:
            self._read_at = now
            try:
                self._token, self._problem = read(self._path), ""
            except ConfigurationError as error:
                if str(error) != self._problem:
                    self._problem = str(error)
                    log.warning("The token cannot be read again; using the one from before", reason=error)
        return self._token
