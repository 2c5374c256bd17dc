"""Writing at once: what is sent, what is left to Twisted, and in which order."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.main import CONNECTION_LOST
from twisted.internet.tcp import Connection
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers import direct


class Socket:
    """A socket that takes so many bytes and then no more."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = b""

    def send(self, data: bytes) -> int:
        if not self.room:
            raise BlockingIOError(11, "full")
        taken = bytes(data[: self.room])
        self.taken += taken
        self.room -= len(taken)
        return len(taken)

    def setblocking(self, blocking: bool) -> None:
        assert not blocking

    def fileno(self) -> int:
        return 0


class Poller:
    """Keeps who wants to write."""

    def __init__(self) -> None:
        self.writers: list[object] = []

    def addWriter(self, writer: object) -> None:
        self.writers.append(writer)

    def removeWriter(self, writer: object) -> None:
        self.writers = [one for one in self.writers if one is not writer]


class Producer:
    """Counts pauses."""

    def __init__(self) -> None:
        self.events: list[str] = []

    def pauseProducing(self) -> None:
        self.events.append("pause")

    def resumeProducing(self) -> None:
        self.events.append("resume")


class DirectTests(SynchronousTestCase):
    """A TCP connection whose socket takes some of it."""

    def connect(self, room: int) -> None:
        self.poller = Poller()
        self.socket = Socket(room)
        self.connection = Connection(cast(Any, self.socket), cast(Any, None), cast(Any, self.poller))
        self.connection.connected = 1
        self.write = direct.writer(cast(Any, self.connection))

    def test_all_of_it(self) -> None:
        """The poller hears nothing of it."""
        self.connect(100)
        self.write(b"one")
        self.write(b"two")
        self.assertEqual(self.socket.taken, b"onetwo")
        self.assertEqual(self.poller.writers, [])

    def test_a_part(self) -> None:
        """The rest goes out later, and what is written meanwhile behind it."""
        self.connect(2)
        self.write(b"one")
        self.write(b"two")
        self.assertEqual(self.socket.taken, b"on")
        self.assertIn(self.connection, self.poller.writers)
        self.socket.room = 2
        self.connection.doWrite()
        self.write(b"3")
        self.socket.room = 100
        self.write(b"4")
        self.connection.doWrite()
        self.connection.doWrite()
        self.assertEqual(self.socket.taken, b"onetwo34")
        self.assertEqual(self.poller.writers, [])
        self.write(b"5")
        self.assertEqual(self.socket.taken, b"onetwo345")

    def test_none_of_it(self) -> None:
        self.connect(0)
        self.write(b"one")
        self.assertIn(self.connection, self.poller.writers)
        self.socket.room = 100
        self.connection.doWrite()
        self.assertEqual(self.socket.taken, b"one")

    def test_a_slow_reader_is_paused(self) -> None:
        """As soon as Twisted keeps more than it should, whoever writes is told; and again when it is gone."""
        self.connect(10)
        producer = Producer()
        self.connection.registerProducer(cast(Any, producer), True)
        self.write(bytes(10 + self.connection.bufferSize))
        self.assertEqual(producer.events, [])
        self.write(b"1")
        self.assertEqual(producer.events, ["pause"])
        self.socket.room = 10**6
        self.connection.doWrite()
        self.assertEqual(producer.events, ["pause", "resume"])

    def test_a_lost_connection(self) -> None:
        """Twisted finds out, as it does with its own writes."""
        self.connect(100)

        def broken(data: bytes) -> int:
            raise OSError(32, "broken pipe")

        self.socket.send = broken  # type: ignore[method-assign]  # as the socket of a peer that is gone
        self.write(b"one")
        self.assertIn(self.connection, self.poller.writers)
        self.assertIs(self.connection.doWrite(), CONNECTION_LOST)

    def test_after_the_end(self) -> None:
        self.connect(100)
        self.connection.connected = 0
        self.write(b"one")
        self.assertEqual(self.socket.taken, b"")

    def test_anything_else(self) -> None:
        """What is no TCP connection is written to as ever."""
        transport = StringTransport()
        direct.writer(transport)(b"one")
        self.assertEqual(transport.value(), b"one")
