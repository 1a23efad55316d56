"""h2's connection with what gRPC needs otherwise, and without what a peer could make it keep."""

import logging
from collections.abc import Mapping
from typing import Final

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes, Settings
from hyperframe.frame import Frame

# It would log each header at -v=10, and what a peer sends is not ours to log.
logging.getLogger("hpack").setLevel(logging.ERROR)
# h2 makes a text of each frame that it receives, with all of the payload in hexadecimal, for a log that is off: a
# quarter of the CPU that a reply of 4 MiB takes, a tenth of that of a small call.
Frame.__repr__ = object.__repr__  # type: ignore[method-assign]  # h2 has no setting for that


class _PeerSettings(Settings):
    """Those that are defined. Others are to be ignored (https://www.rfc-editor.org/rfc/rfc9113#section-6.5.2); h2 keeps
    each, of which there may be 65,536, in some 800 bytes."""

    def __setitem__(self, key: SettingCodes | int, value: int) -> None:
        if key in _DEFINED:
            super().__setitem__(key, value)


class Protocol(H2Connection):
    """One side of a connection, which announces ``settings`` and takes lists of headers of ``header_bytes``."""

    # How many streams that have ended are remembered, to tell late frames from mistakes. By default it is 65,536, which
    # are 8 MB for a connection that is kept for days.
    MAX_CLOSED_STREAMS = 1000

    def __init__(self, settings: Mapping[SettingCodes, int], header_bytes: int, *, is_client: bool) -> None:
        super().__init__(_CONFIGURATIONS[is_client])
        known = {SettingCodes.MAX_HEADER_LIST_SIZE: header_bytes, **settings}
        self.local_settings = Settings(client=is_client, initial_values=known)
        self.remote_settings = _PeerSettings(client=not is_client)
        self.decoder.max_header_list_size = header_bytes

    @property
    def open_inbound_streams(self) -> int:
        """0, so that h2 never ends a connection, with all its calls, because of one stream above the limit. Whoever
        handles the request refuses that stream alone (https://www.rfc-editor.org/rfc/rfc9113#section-5.1.2)."""
        _ = super().open_inbound_streams  # forgets streams that have ended
        return 0


def _configuration(*, is_client: bool) -> H2Configuration:
    """Headers are taken as they are: gRPC permits values that HTTP does not, for example a ``grpc-message`` that ends
    with a space."""
    return H2Configuration(
        client_side=is_client,
        validate_inbound_headers=False,
        normalize_inbound_headers=False,
        validate_outbound_headers=False,
        normalize_outbound_headers=False,
    )


_CONFIGURATIONS: Final = {is_client: _configuration(is_client=is_client) for is_client in (False, True)}
_DEFINED: Final = frozenset(SettingCodes)
