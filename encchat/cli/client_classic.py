"""``encchat-client --classic``: the composition root for a talk with the classroom script."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol, cast

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory

from encchat.ciphers.interfaces import IClientCipher, IServerCipher
from encchat.ciphers.registry import client_cipher, server_cipher
from encchat.client.network.address import Address, parse_port
from encchat.client.network.link import CONNECT_FAILURES, CONNECT_TIMEOUT, no_connection
from encchat.client.pipe.classic import ClassicTalk, OnePeer
from encchat.client.streams.lines import Reader, Writer
from encchat.errors import ConfigError
from encchat.library.opening import prepare

CIPHER = "rsa:classic=only"


class CannotListen(ConfigError):
    """Cannot listen on port {port}: {reason}. Choose another, or end what uses it."""


class Tap(Protocol):
    """What watches, if anything does."""

    def client(self, cipher: IClientCipher) -> IClientCipher: ...
    def server(self, cipher: IServerCipher) -> IServerCipher: ...


class Claim(Protocol):
    """What is told of whoever is there."""

    @property
    def summary(self) -> str: ...


async def run_classic(
    reactor: Any,
    address: Address,
    listen: str | None,
    status: Callable[[str], None],
    tap: Tap | None = None,
) -> int:
    """Talk with the script at ``address``, or wait for it on the port ``listen``; returns the exit code.
    ``tap`` watches (--wire).

    :raises EncchatError: it cannot be reached, or is not the script.
    """
    talk = ClassicTalk(reactor, Reader(reactor, 0), lambda changed: Writer(reactor, 1, changed), status)
    # The profile's keys end with the process: there is nothing to keep.
    with TemporaryDirectory(prefix="encchat-") as directory:
        if listen is None:
            calling = client_cipher(CIPHER, Path(directory))
            return await _call(reactor, talk, tap.client(calling) if tap else calling, address, status)
        answering = server_cipher(CIPHER, Path(directory))
        return await _answer(reactor, talk, tap.server(answering) if tap else answering, listen, status)


async def _call(
    reactor: Any, talk: ClassicTalk, cipher: IClientCipher, address: Address, status: Callable[[str], None]
) -> int:
    await prepare(reactor, cipher)

    def trust(claim: Claim) -> None:
        """Whoever asks for the classic profile asks for no proof."""
        status(claim.summary)

    endpoint = HostnameEndpoint(reactor, address.host, address.port, timeout=CONNECT_TIMEOUT)
    factory = cipher.wrap(cast(IProtocolFactory, OnePeer(talk.connection)), address.host, trust)
    try:
        await endpoint.connect(factory)
    except CONNECT_FAILURES as error:
        raise no_connection(address, error) from None
    try:
        return await talk.run()
    finally:
        cipher.stop()


async def _answer(
    reactor: Any, talk: ClassicTalk, cipher: IServerCipher, listen: str, status: Callable[[str], None]
) -> int:
    number = 0 if listen == "0" else parse_port(listen)
    await prepare(reactor, cipher)
    factory = cipher.wrap(cast(IProtocolFactory, OnePeer(talk.connection)))
    try:
        endpoint = TCP4ServerEndpoint(reactor, number, interface="127.0.0.1")
        port: IListeningPort = await endpoint.listen(factory)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        raise CannotListen(port=number, reason=reason) from None
    where = port.getHost()
    status(f"waiting for the script at 127.0.0.1:{getattr(where, 'port', number)}")
    try:
        return await talk.run()
    finally:
        cipher.stop()
        await cast("Deferred[None]", port.stopListening())
