"""The two sides of a TLS connection: when each looks at the other, and what it says before it does.

The server looks at what a hello led to before it sends anything of that; the client looks at the server
before it sends its certificate.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocol, IReactorTime

from encchat.ciphers.interfaces import ServerClaim, Trust
from encchat.ciphers.tls.contexts import PROTOCOL
from encchat.ciphers.tls.failures import NotEncchat
from encchat.ciphers.tls.hello import is_hello_retry
from encchat.ciphers.tls.judge import Judge
from encchat.ciphers.tls.layer import TlsLayer
from encchat.core.identity import PeerIdentity
from encchat.errors import EncchatError


class ServerLayer(TlsLayer):
    """The side that was connected to."""

    _hello_judged = False

    def cipherStarted(self) -> None:
        """Wait for a hello."""
        super().cipherStarted()
        self._tls.set_accept_state()

    def _answer(self) -> None:
        """Look at what the hello led to before anything of it is sent."""
        if self._hold_output() and not self._hello_judged and not is_hello_retry(self._held[0]):
            self._hello_judged = True
            try:
                self._judge_hello()
            except EncchatError as error:
                self._fail_in_plain(error)
                return
        self._send_held()

    def _judge_hello(self) -> None:
        if self._judge.speaks_otherwise:
            raise NotEncchat(peer=self._judge.showing.peer)
        self._check_group()

    def _completed(self) -> None:
        self._hold_output()  # the tickets, which nobody waits for
        if self._tls.get_alpn_proto_negotiated() != PROTOCOL:
            # It offered none at all. TLS has no alert for that, and scanners need the handshake.
            self.cipherFinish()
            self.fail(NotEncchat(peer=self._judge.showing.peer), gently=True)
        else:
            self.established(PROTOCOL, self._identity())


class ClientLayer(TlsLayer):
    """The side that connects."""

    def __init__(
        self,
        wrapped: IProtocol,
        clock: IReactorTime,
        context: SSL.Context,
        judge: Judge,
        live: set[TlsLayer],
        *,
        server_name: bytes | None,
        trust: Trust,
    ) -> None:
        super().__init__(wrapped, clock, context, judge, live)
        self._trust = trust
        if server_name is not None:
            self._tls.set_tlsext_host_name(server_name)

    def cipherStarted(self) -> None:
        """Send the hello."""
        super().cipherStarted()
        self._tls.set_connect_state()
        self._shake()

    def _completed(self) -> None:
        """The server has proved its key, and our certificate still waits in OpenSSL's buffer: it is sent
        when everything about the server is as it should be. Until then it only gets an alert."""
        try:
            identity = self._identity()
            self._check_group()
            if self._tls.get_alpn_proto_negotiated() != PROTOCOL:
                raise NotEncchat(peer=self._judge.showing.peer)
            self._trust(self._claim(identity))
        except EncchatError as error:
            self._fail_in_plain(error)
            return
        self._flush()
        self.established(PROTOCOL, identity)

    def _refuse(self, error: SSL.Error) -> None:
        if self._judge.overruled and not self._done:
            # OpenSSL would call it an internal error. Until the first protected record of a client its
            # alerts may be in plain text.
            self._fail_in_plain(self._words(error))
        else:
            super()._refuse(error)

    def _claim(self, identity: PeerIdentity) -> ServerClaim:
        pinned = self._judge.showing.pinned
        return ServerClaim(
            profile="tls-pin" if pinned else "tls-ca",
            fingerprint=identity.fingerprint,
            vouched=not pinned,
            summary=identity.summary,
        )
