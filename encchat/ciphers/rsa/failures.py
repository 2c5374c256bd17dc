"""What an hrsa1 machine refuses, with the stage at which it did.

``stage`` is for the log and for people who look for a reason: which message, which check. The wire
never shows it: there are no alerts, a failed connection is simply closed.
"""

from __future__ import annotations

from encchat.errors import PeerError, RefusedError


class HandshakeFailed(PeerError):
    """The handshake failed ({stage}): {reason}."""

    code = "handshake-failed"


class RecordRefused(PeerError):
    """Protected data was refused ({stage}): {reason}. It may have been altered on its way; connect again."""

    code = "record-refused"


class Truncated(PeerError):
    """The connection ended without the other side's closing message ({stage}): the end may be missing."""

    code = "truncated"


class Downgrade(RefusedError):
    """The server offers only the classic profile ({stage}), which proves nobody's identity. If you know that
    it is a classroom script, connect with --classic."""

    code = "downgrade"
