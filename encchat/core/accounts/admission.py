"""Who may come in, and under which name: a pure function of who asks and what is known.

A certificate authority's word goes first: a vouched name must be the one asked for, and takes precedence
over a key's claim. Otherwise a name belongs to the first key that claimed it. Nothing here looks at the
network or the disk: the claim and the policy are handed in.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from encchat.core.identity import PeerIdentity, is_fingerprint
from encchat.core.names import GUEST, Name, is_guest, parse_name
from encchat.errors import ConfigError, RefusedError


class NameTaken(RefusedError):
    """The name {name} belongs to another key, {fingerprint}. If it is yours, type /link where you have it,
    and start here with --link CODE; else choose another name."""

    code = "name-taken"


class NameVouched(RefusedError):
    """The name {name} belongs to the holder of a certificate for it. Connect with that certificate
    (--cipher tls), or choose another name."""

    code = "name-taken"


class NameMoved(RefusedError):
    """You are called {new} here now, and {name} is nobody's name any more. Connect as {new}."""

    code = "name-moved"


class NameMismatch(RefusedError):
    """Your certificate is for {vouched}, not for {name}. Connect as {vouched}."""

    code = "name-mismatch"


class NameReserved(RefusedError):
    """Names that begin with 'guest-' are kept for peers of the classic profile. Choose another name."""

    code = "bad-name"


class NotMember(RefusedError):
    """This server admits only its members, and {name} with the key {fingerprint} is not one. Send that
    fingerprint to its operator."""

    code = "not-a-member"


class NotAuthenticated(RefusedError):
    """This server admits only its members, and a classic peer cannot prove to be one."""

    code = "not-a-member"


#: Former names of somebody that are remembered at most.
MAX_FORMER = 8
#: How far a name has passed from whoever had merely claimed it to the holder of a certificate: it never did,
#: it is being taken, it was taken.
NEVER, TAKING, TAKEN = range(3)


class Claim(Struct, frozen=True, array_like=True):
    """To whom a name belongs: kept in the directory under the name's key."""

    shown: str
    fingerprint: str
    since: int
    vouched: bool = False
    #: Keys that were linked to the name later, in that order.
    further: tuple[str, ...] = ()
    #: The name that its holder was given instead: this one is nobody's any more.
    moved: str = ""
    #: What its holder was called before, the last ones: what was sent under these names may come again.
    former: tuple[str, ...] = ()
    #: One of the three above.
    passed: int = NEVER

    @property
    def keys(self) -> tuple[str, ...]:
        """The fingerprints of all keys that may use the name."""
        return (self.fingerprint, *self.further)


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is admitted at all. ``members`` is None where everybody is; otherwise it maps a name's key to
    the fingerprints it may use, and an empty set means: with a certificate that vouches for the name."""

    members: Mapping[str, frozenset[str]] | None = field(default=None)


def judge(identity: PeerIdentity, requested: str, claim: Claim | None, policy: Policy) -> Name:
    """The name under which this peer is admitted. ``claim`` is what the directory has for the name.

    :raises RefusedError: it is not; the subclass says why, in words and in its code.
    """
    name = parse_name(requested)
    if is_guest(name):
        raise NameReserved()
    vouched = identity.vouched_name
    if vouched is not None and parse_name(vouched).key != name.key:
        raise NameMismatch(vouched=vouched, name=requested)
    _judge_membership(identity, name, policy)
    if claim is None:
        return name
    if vouched is None:
        if claim.vouched:
            raise NameVouched(name=claim.shown)
        if identity.fingerprint not in claim.keys:
            raise NameTaken(name=claim.shown, fingerprint=claim.fingerprint)
        if claim.moved:
            raise NameMoved(name=claim.shown, new=claim.moved)
    return Name(claim.shown, name.key)


def judge_guest(policy: Policy) -> None:
    """Whether a classic peer may come in.

    :raises RefusedError: it may not.
    """
    if policy.members is not None:
        raise NotAuthenticated()


def guest_name(identity: PeerIdentity, taken: Mapping[str, str]) -> Name:
    """A name for a classic peer, from the key that it showed: ``guest-`` and at least four hexadecimal
    digits. ``taken`` maps the keys of the guest names in use to fingerprints; another key's is passed."""
    digits = b64decode(identity.fingerprint.partition(":")[2] + "=").hex()
    for length in range(4, len(digits) + 1):
        key = GUEST + digits[:length]
        if taken.get(key, identity.fingerprint) == identity.fingerprint:
            break
    return Name(key, key)


def _judge_membership(identity: PeerIdentity, name: Name, policy: Policy) -> None:
    if policy.members is None:
        return
    keys = policy.members.get(name.key)
    if keys is None or not (identity.fingerprint in keys or (not keys and identity.vouched_name)):
        raise NotMember(name=name.shown, fingerprint=identity.fingerprint)


def parse_members(text: str, source: str) -> Mapping[str, frozenset[str]]:
    """The members in a file's text: a line each, ``NAME FINGERPRINT``, or ``NAME`` alone for one with a
    certificate; a name may stand on several lines, one for each key; ``#`` begins a comment.

    :raises ConfigError: a line is something else; names the ``source`` and the line.
    """
    members: dict[str, set[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            keys = members.setdefault(parse_name(words[0]).key, set())
        except RefusedError as error:
            raise ConfigError(reason=f"{source}, line {number}: {error}") from None
        if len(words) > 2 or (len(words) == 2 and not is_fingerprint(words[1])):
            raise ConfigError(
                reason=f"{source}, line {number}: write 'NAME SHA256:...' or 'NAME', as encchat-client "
                "prints its fingerprint"
            )
        keys.update(words[1:])
    return {name: frozenset(keys) for name, keys in members.items()}
