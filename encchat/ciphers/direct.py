"""Writing to a TCP connection at once, without a round through the poller.

Twisted keeps what is written until the poller says that the socket takes it: two changes of what the poller
watches and an event for each write, where the socket nearly always takes all of it. What it does not take is
left to Twisted, in order, with the pausing of producers that comes with it.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.tcp import Connection

from encchat.ciphers.below import Below


def writer(below: Below) -> Callable[[bytes], None]:
    """What writes to ``below``: at once if that is a TCP connection which keeps nothing back."""
    if not isinstance(below, Connection):
        return below.write
    connection: Connection = below

    def write(data: bytes) -> None:
        # Twisted has no public word for "nothing waits"; tests/ciphers/test_direct.py fails if these go.
        if connection.dataBuffer or connection._tempDataLen or not connection.connected:
            connection.write(data)
            return
        try:
            sent = connection.socket.send(data)
        except OSError:  # full, or lost: Twisted finds out as it tries
            sent = 0
        if sent < len(data):
            connection.write(data[sent:])

    return write
