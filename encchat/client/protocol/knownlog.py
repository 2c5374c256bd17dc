"""Whether a server may name another log than it did when it was last met.

A log is named by 16 bytes that stay for as long as it exists, and every position that a client keeps is of
one log. So a server that could name another one whenever it likes could take back all that it ever said,
and nobody's chain of hashes would show it. Only a log that lives in memory, and has said so from the first
meeting on by the name that it has, may be another one after a restart.
"""

from __future__ import annotations

from encchat.errors import PeerError
from encchat.messages import PASSING_LOG


class OtherLog(PeerError):
    """{address} has another log than the one that you know: all that was said there is gone, or may have been
    replaced; ask its operator. To begin anew with the log as it is now, start with --accept-log."""

    code = "other-log"


def judge(address: str, known: bytes | None, log: bytes) -> None:
    """The server names ``log``, where ``known`` was its log before (None: it was never met).

    :raises OtherLog: that is not for it to change.
    """
    if known is None or known == log:
        return
    if not known.startswith(PASSING_LOG):
        raise OtherLog(address=address)
