"""Trying again when the network has changed, and only then before it is time."""

from __future__ import annotations

import socket
from pathlib import Path

from twisted.trial.unittest import TestCase

from encchat.client.network import link, network
from encchat.client.network.network import Network, local_addresses
from tests.client.world import Listener, World

HOME, CAFE = ("192.168.1.7", None), ("10.0.0.9", None)
NONE = (None, None)


class Looking(TestCase):
    def setUp(self) -> None:
        self.addresses: tuple[str | None, ...] = HOME
        self.wall = 1000.0
        self.network = Network(lambda: self.addresses, lambda: self.wall)
        self.network.begin()

    def look(self, addresses: tuple[str | None, ...] = HOME, passed: float = 2.0) -> bool:
        self.addresses = addresses
        self.wall += passed
        return self.network.look(2.0)

    def test_nothing_new(self) -> None:
        self.assertFalse(self.look())
        self.assertFalse(self.look(passed=9))

    def test_another_network_is_news_once(self) -> None:
        self.assertTrue(self.look(CAFE))
        self.assertFalse(self.look(CAFE))

    def test_one_that_goes_is_none_and_that_comes_is_one(self) -> None:
        self.assertFalse(self.look(NONE))
        self.assertTrue(self.look(HOME))
        self.assertTrue(self.look((HOME[0], "2001:db8::5")))

    def test_a_machine_that_slept(self) -> None:
        self.assertTrue(self.look(passed=3600))
        self.assertFalse(self.look())

    def test_a_clock_that_was_set_back(self) -> None:
        self.assertFalse(self.look(passed=-3600))

    def test_the_real_one_asks_nobody(self) -> None:
        """A machine that has no way anywhere has no address; any other has its own."""
        for address in local_addresses():
            if address is not None:
                socket.getaddrinfo(address, None, flags=socket.AI_NUMERICHOST)

        class Broken(socket.socket):
            def connect(self, address: object) -> None:
                raise OSError(101, "Network is unreachable")

        self.patch(network.socket, "socket", Broken)
        self.assertEqual(local_addresses(), (None, None))


class Reconnecting(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.store.close)
        self.addresses: tuple[str | None, ...] = HOME
        self.looks = 0
        self.world.link._network = Network(self.look, self.world.clock.seconds)
        self.console = Listener()
        self.world.start(self.console)
        self.world.settle()

    def look(self) -> tuple[str | None, ...]:
        self.looks += 1
        return self.addresses

    def test_nobody_looks_while_it_is_connected(self) -> None:
        self.world.later(60, step=5)
        self.assertEqual(self.looks, 0)

    def test_at_once_when_the_network_is_another(self) -> None:
        self.world.refuse_connections(10)
        self.world.cut()
        self.world.later(100)  # by now the waits are long
        self.world.endpoint.failures = []
        attempts = self.world.endpoint.attempts
        self.addresses = CAFE
        self.world.later(link.LOOK_EVERY)
        self.assertEqual(self.world.endpoint.attempts, attempts + 1)
        self.assertTrue(self.world.chat.session.admitted)

    def test_the_waits_begin_anew(self) -> None:
        self.world.refuse_connections(100)
        self.world.cut()
        self.world.later(200)
        attempts = self.world.endpoint.attempts
        self.world.later(10)
        self.assertLessEqual(self.world.endpoint.attempts, attempts + 1)
        self.addresses = CAFE
        attempts = self.world.endpoint.attempts
        self.world.later(10)
        self.assertGreaterEqual(self.world.endpoint.attempts, attempts + 3)

    def test_when_it_is_time_and_nothing_changed(self) -> None:
        self.world.refuse_connections(2)
        self.world.cut()
        self.world.later(5)
        self.assertTrue(self.world.chat.session.admitted)

    def test_a_person_need_not_wait(self) -> None:
        self.world.refuse_connections(10)
        self.world.cut()
        self.world.later(100)
        self.world.endpoint.failures = []
        self.world.chat.reconnect()
        self.world.settle()
        self.assertTrue(self.world.chat.session.admitted)
