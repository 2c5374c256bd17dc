"""What every client needs before it can talk, whoever uses it: the profile's store and lane, a cipher that
has its keys, and a chat joined to a link. The command line and the library are built on this."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.threads import deferToThreadPool

import encchat
from encchat.client.chat import Chat
from encchat.client.network.address import Address
from encchat.client.network.link import CONNECT_TIMEOUT, Link, Patience
from encchat.client.network.network import Network
from encchat.client.network.trust import Trust
from encchat.client.protocol.session import VERSIONS
from encchat.client.store import Store
from encchat.client.store.keeping import Keeper
from encchat.client.store.key import Keyring, find_keyring
from encchat.client.store.lanes import Lane
from encchat.errors import EncchatError
from encchat.messages import Hello

if TYPE_CHECKING:
    from encchat.ciphers.interfaces import IClientCipher

#: How the software names itself to servers.
SOFTWARE = f"encchat {encchat.__version__}"[:32]


class Opening:
    """The store of the profile in ``directory``, and a lane of its outbox unless nothing is to be kept there.

    :raises ConfigError: they cannot be used.
    """

    def __init__(
        self,
        directory: Path,
        address: Address,
        *,
        lane: bool = True,
        keyring: Callable[[], Keyring | None] = find_keyring,
    ) -> None:
        self.address = address
        self.store = Store.open(directory, keyring)
        try:
            self.lane = Lane.take(directory, self.store) if lane else None
        except BaseException:
            self.store.close()
            raise
        number = None if self.lane is None else self.lane.number
        self.keeper = Keeper(self.store, str(address), number)

    def close(self) -> None:
        """Let go of both."""
        if self.lane is not None:
            self.lane.release()
        self.store.close()

    def chat(
        self, reactor: Any, trust: Trust, name: str, *, link_code: str = "", accept_log: bool = False
    ) -> Chat:
        """A chat under ``name``. It is to be started, and to be given a link."""
        return Chat(
            reactor,
            Hello(VERSIONS, name, "", SOFTWARE, link_code),
            trust,
            self.keeper,
            token=msgid,
            milliseconds=milliseconds,
            accept_log=accept_log,
        )

    def link(
        self,
        reactor: Any,
        cipher: IClientCipher,
        trust: Trust,
        chat: Chat,
        patience: Patience,
        *,
        sealed: bool = True,
    ) -> Link:
        """The link for a chat, to be run. ``sealed`` is False where there is no need for sealed rooms."""
        if sealed:
            bring_keys(chat, cipher)
        from twisted.internet.endpoints import HostnameEndpoint  # takes long, as it brings TLS along

        host = self.address.host
        endpoint = HostnameEndpoint(reactor, host, self.address.port, timeout=CONNECT_TIMEOUT)
        return Link(
            reactor,
            self.address,
            endpoint,
            lambda factory: cipher.wrap(factory, host, trust.judge),
            chat.session,
            chat,
            patience,
            random.random,
            Network(),
        )


def bring_keys(chat: Chat, cipher: IClientCipher) -> None:
    """Let sealed rooms rest on the identity of a cipher that has its keys, if it can sign with it."""
    from encchat.ciphers.interfaces import ISealing
    from encchat.client.sealed.holding import Sealing  # slow to import, and not always needed

    if not ISealing.providedBy(cipher):
        chat.sealed.ready(None, "this cipher has no identity that could sign keys.")
        return
    sealing = cast("ISealing", cipher)
    try:
        chat.sealed.ready(Sealing(sealing.signer(), sealing.voucher()))
    except EncchatError as error:
        chat.sealed.ready(None, str(error))


async def prepare(reactor: Any, cipher: Any) -> None:
    """Have a cipher read or make its keys, in a thread, and start it."""
    await deferToThreadPool(reactor, reactor.getThreadPool(), cipher.prepare)
    cipher.start(reactor)


def msgid() -> bytes:
    """A message id that begins with the time, as UUIDv7 does (RFC 9562, section 5.7): what was sent together
    lies together in the server's index. The 10 bytes that follow are random."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


def milliseconds() -> int:
    """The time, as messages carry it."""
    return int(time.time() * 1000)
