"""Which server a client believes: keys are pinned as ssh pins them, and nothing is downgraded silently.

The judgement is made on the server's claim, before anything of the client's own is sent; what is learnt
is written down only once the server has proved that the key is its own.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from typing import Protocol

from encchat.client.network.address import Address
from encchat.client.store import Pin
from encchat.errors import RefusedError

#: The profiles of the ciphers that we know, weakest first. A server that was met under one of them is
#: refused under a weaker one; a profile that is not listed counts as the weakest.
PROFILES = ("classic", "hrsa1", "tls-pin", "tls-ca")
CLASSIC = "classic"


class UnknownServer(RefusedError):
    """{address} is a server that you have not met yet. Its key is {fingerprint}. If its
    operator confirms that, connect with: {command}"""

    code = "unknown-server"


class ServerKeyChanged(RefusedError):
    """{address} shows the key {fingerprint}, but its key was {known} until now. Either its operator has
    made a new one, or somebody is listening in. Only if the operator confirms the new key: {command}"""

    code = "server-key-changed"


class NotThePinnedKey(RefusedError):
    """{address} shows the key {fingerprint}, not {pinned}, which --pin demands. Ask its operator which one
    is right."""

    code = "not-the-pinned-key"


class Downgraded(RefusedError):
    """{address} offers only {offered}, but it spoke {known} when you met it. That is what a downgrade attack
    looks like. Only if its operator confirms the change: {command}"""

    code = "downgraded"


class NotAuthenticated(RefusedError):
    """{address} speaks the classic profile, in which nobody proves who they are. To talk to it
    nevertheless: encchat-client --classic {address}"""

    code = "not-authenticated"


class Claim(Protocol):
    """What a cipher tells of the server: ``encchat.ciphers.interfaces.ServerClaim``."""

    @property
    def profile(self) -> str: ...
    @property
    def fingerprint(self) -> str: ...
    @property
    def vouched(self) -> bool: ...
    @property
    def summary(self) -> str: ...


class PinBook(Protocol):
    """Where pins are kept: ``encchat.client.store.Store``."""

    def pins(self, endpoint: str) -> list[Pin]: ...
    def pin(self, pin: Pin, *, replace: bool) -> None: ...


class Trust:
    """The judge of one server, for one run of the client.

    ``pin`` is the fingerprint that the user demands; ``accept_new`` lets in a server that is not known
    yet; ``command`` is how this client was called, for the advice in refusals.
    """

    def __init__(
        self,
        book: PinBook,
        address: Address,
        milliseconds: Callable[[], int],
        *,
        pin: str | None = None,
        accept_new: bool = False,
        command: Sequence[str] = ("encchat-client",),
    ) -> None:
        self._book = book
        self._endpoint = str(address)
        self._milliseconds = milliseconds
        self._pin = pin
        #: Whether it was the user's answer that made this the pin, and not an option.
        self._answered = False
        self._accept_new = accept_new
        self._command = command
        #: What the last judgement allows to be written down.
        self._learnt: tuple[Pin, bool] | None = None
        #: The claim that was believed last.
        self.claim: Claim | None = None

    @property
    def unmet(self) -> bool:
        """Whether the server is a stranger, about whom a person has to be asked."""
        return self._pin is None and not self._accept_new and not self._book.pins(self._endpoint)

    def judge(self, claim: Claim) -> None:
        """Go on with this server?

        :raises RefusedError: no; the subclass says why and what to do.
        """
        self._learnt = self.claim = None
        known = self._book.pins(self._endpoint)
        if self._pin is not None:
            self._judge_demanded(claim, self._pin, known)
        else:
            self._judge_known(claim, known)
        self.claim = claim

    def proved(self) -> None:
        """The server that was judged last has proved its key: remember it."""
        if self._learnt is not None:
            pin, replace = self._learnt
            self._learnt = None
            self._book.pin(pin, replace=replace)
        if self._answered:  # it is known now, and another key is a change
            self._pin, self._answered = None, False

    def accept(self, fingerprint: str) -> None:
        """The user has said yes to this key: it is demanded until the server has proved it."""
        self._pin, self._answered = fingerprint, True

    def _judge_demanded(self, claim: Claim, pin: str, known: Sequence[Pin]) -> None:
        if claim.fingerprint != pin:
            raise NotThePinnedKey(address=self._endpoint, fingerprint=claim.fingerprint, pinned=pin)
        if claim.profile == CLASSIC:  # a key that is only shown proves nothing, whoever demanded it
            raise NotAuthenticated(address=self._endpoint)
        if not any(p.profile == claim.profile and p.fingerprint == pin for p in known) or len(known) > 1:
            self._learn(claim, replace=True)

    def _judge_known(self, claim: Claim, known: Sequence[Pin]) -> None:
        strongest = max(known, key=lambda pin: _strength(pin.profile), default=None)
        if strongest is not None and _strength(claim.profile) < _strength(strongest.profile):
            raise Downgraded(
                address=self._endpoint,
                offered=claim.profile,
                known=strongest.profile,
                command=self._accepting(claim),
            )
        if claim.profile == CLASSIC:
            raise NotAuthenticated(address=self._endpoint)
        pinned = next((pin for pin in known if pin.profile == claim.profile), None)
        if claim.vouched:
            if pinned is None or pinned.fingerprint != claim.fingerprint:
                self._learn(claim, replace=False)
        elif pinned is None:
            if not self._accept_new:
                raise UnknownServer(
                    address=self._endpoint,
                    fingerprint=claim.fingerprint,
                    command=self._accepting(claim),
                )
            self._learn(claim, replace=False)
        elif pinned.fingerprint != claim.fingerprint:
            raise ServerKeyChanged(
                address=self._endpoint,
                fingerprint=claim.fingerprint,
                known=pinned.fingerprint,
                command=self._accepting(claim),
            )

    def _learn(self, claim: Claim, *, replace: bool) -> None:
        pin = Pin(self._endpoint, claim.profile, claim.fingerprint, claim.vouched, self._milliseconds())
        self._learnt = (pin, replace)

    def _accepting(self, claim: Claim) -> str:
        return shlex.join([*self._command, "--pin", claim.fingerprint, self._endpoint])


def _strength(profile: str) -> int:
    return PROFILES.index(profile) if profile in PROFILES else 0
