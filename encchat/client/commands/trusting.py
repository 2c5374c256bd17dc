"""The slash commands about who somebody is, and about one's own devices: what sealed rooms rest on."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from encchat.client.commands import moderating
from encchat.client.commands.command import Command
from encchat.client.view.entrylines import name_key
from encchat.client.view.sealnews import digit_lines
from encchat.client.view.show import moment
from encchat.client.view.titles import title
from encchat.core.sealed import events as fx
from encchat.errors import EncchatError, UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands
    from encchat.client.events import Event
    from encchat.core.sealed.numbers import SafetyNumber

#: People whose numbers, signs and changes are remembered.
MAX_KNOWN = 100

Known = TypeVar("Known")

SAME, DIFFERENT = ("same", "equal"), ("different", "differ", "no", "stop")


class NotShown(UsageError):
    """Compare first: /verify {name} shows the digits that {name} must see, too."""


class NoSigns(UsageError):
    """There is nothing to compare with {name} now. /verify {name} emoji begins."""


class NotChanged(UsageError):
    """No other key claims to be {name}'s, so there is nothing to accept. /whois {name} shows the key."""


class Trusting:
    """What was shown of people, so that what is confirmed is what was seen. All bounded."""

    def __init__(self) -> None:
        #: The number that was shown of each, by name.
        self.numbers: dict[str, SafetyNumber] = {}
        #: Whose digits are to be shown once their identity is known.
        self.wanted: dict[str, str] = {}
        #: What each would like to compare, and whether we begin it (else they asked).
        self.asked: dict[str, bytes] = {}
        self.begun: dict[str, bytes] = {}
        #: The keys that were told of whose identity changed: before, and now.
        self.changed: dict[str, tuple[str, str]] = {}
        #: Whose identity was told, and no device yet.
        self._told: dict[str, None] = {}

    def notice(self, c: Commands, event: Event) -> None:
        """Keep track of what happens."""
        match getattr(event, "news", None):
            case fx.IdentityMet(name):
                self._show_wanted(c, name)
            case fx.IdentityChanged(name, before, now):
                _put(self.changed, name, (before, now))
                self.numbers.pop(name, None)
                self._show_wanted(c, name)
            case fx.SasAsked(transaction, name):
                _put(self.asked, name, transaction)
            case fx.SasShown(transaction, name):
                self.asked.pop(name, None)
                _put(self.begun, name, transaction)
            case fx.SasEnded(transaction, name):
                for known in (self.asked, self.begun):
                    if known.get(name) == transaction:
                        del known[name]
            case fx.Verified(name):
                self.changed.pop(name, None)
                self.begun.pop(name, None)

    def is_known(self, news: fx.Event) -> bool:
        """Whether it goes without saying: the first device of somebody whose identity was just told."""
        match news:
            case fx.IdentityMet(name) | fx.IdentityChanged(name):
                _put(self._told, name, None)
            case fx.DeviceChanged(name, here=True) if name in self._told:
                del self._told[name]
                return True
        return False

    def _show_wanted(self, c: Commands, name: str) -> None:
        shown = self.wanted.pop(name, None)
        if shown is not None:
            _digits(c, shown)


def verify(c: Commands, rest: str) -> None:
    """/verify NAME [yes|emoji|same|different]"""
    word, _, what = rest.partition(" ")
    if not word:
        c.teach("verify")
    name, what = c.name(word.removeprefix("@")), what.strip().lower()
    key = name_key(name)
    if not what:
        from encchat.core.sealed.sas import NothingToCompare

        try:
            _digits(c, name)
        except NothingToCompare:
            c.online()
            _put(c.trusting.wanted, key, name)
            c.screen.note(f"asking the server for the key of {name}")
        c.chat.sealed.meet(name)  # a key that claims the name meanwhile is better known now than later
    elif what == "yes":
        verified(c, name)
    elif what in ("emoji", "signs"):
        asked = c.trusting.asked.pop(key, None)
        if asked is not None:
            c.chat.sealed.accept_sas(asked)
        else:
            _put(c.trusting.begun, key, c.chat.sealed.start_sas(name))
        c.screen.note(f"waiting for {name}; it takes both of you, within ten minutes")
    elif what in (*SAME, *DIFFERENT):
        transaction = c.trusting.begun.get(key) or c.trusting.asked.get(key)
        if transaction is None:
            raise NoSigns(name=name)
        if what in SAME:
            c.chat.sealed.confirm_sas(transaction)
            c.screen.note(f"when {name} says so, too, {name} is verified")
        else:
            c.chat.sealed.cancel_sas(transaction)
    else:
        c.teach("verify")


def verified(c: Commands, rest: str) -> None:
    """/verified NAME"""
    if not rest:
        c.teach("verified")
    name = c.name(rest)
    number = c.trusting.numbers.get(name_key(name))
    if number is None:
        raise NotShown(name=name)
    c.chat.sealed.verify(number)
    _renew(c, name)


def _digits(c: Commands, name: str) -> None:
    number = c.chat.sealed.safety_number(name)
    _put(c.trusting.numbers, name_key(name), number)
    lines = [
        f"{name} must see the same digits after /verify {clean_line(c.chat.name)}; read them to each other",
        "by telephone, or side by side, not here:",
        *digit_lines(number.digits),
        f"the same on both sides: /verify {name} yes. If they differ, somebody is between you",
    ]
    c.screen.note("\n".join(lines))


def accept(c: Commands, rest: str) -> None:
    """/accept NAME [yes]"""
    word, _, what = rest.partition(" ")
    if not word or what.strip().lower() not in ("", "yes"):
        c.teach("accept")
    name = c.name(word.removeprefix("@"))
    key = name_key(name)
    from encchat.core.sealed.contacts import NobodyOffered
    from encchat.core.sealed.formats import fingerprint_of

    before, now = c.trusting.changed.get(key, ("", ""))
    now = now or fingerprint_of(c.chat.sealed.safety_number(name).identity)
    try:
        c.chat.sealed.accept_identity(name)
    except NobodyOffered:
        raise NotChanged(name=name) from None
    c.trusting.changed.pop(key, None)
    if before:
        c.screen.note(f"the key of {name} was {clean_line(before, 100)}")
    c.screen.note(f"the key of {name} is  {clean_line(now, 100)}")
    if key == name_key(c.chat.name):
        c.screen.note("accepted. The machine with that key has to let this one in: /accept-device there")
        return
    c.screen.note(f"accepted. It was not compared: /verify {name} does that")
    _renew(c, name)


def _renew(c: Commands, name: str) -> None:
    """Sign the identity that is accepted now into the rooms that we run, where somebody is."""
    key, me = name_key(name), name_key(c.chat.name)
    for room in c.chat.sealed.rooms():
        people = {person.name: person for person in c.chat.sealed.members(room)}
        if key not in people or me not in people or c.chat.sealed.is_renewed(room, name):
            continue
        if not people[me].admin:
            c.screen.note(f"in {title(room, me)} an admin has to accept it, too, before {name} reads again")
            continue
        try:
            c.chat.sealed.renew(room, name)
        except EncchatError as error:
            c.screen.note(str(error))


def devices(c: Commands, rest: str) -> None:
    """/devices"""
    if rest:
        c.teach("devices")
    if c.chat.sealed.available:
        c.screen.note("your devices that take part in sealed rooms:")
        for each in c.chat.sealed.devices():
            since = moment(each.created, "%Y-%m-%d")
            state = "this one" if each.this else f"/revoke {clean_line(each.id, 40)} takes it away"
            if not each.listed:
                state = (
                    "this one, WAITS until another one lets it in"
                    if each.this
                    else (f"WAITS: only if it is yours, /accept-device {clean_line(each.id, 40)}")
                )
            c.screen.note(f"    {clean_line(each.id, 40)}, since {since}, {state}")
            c.screen.note(f"        key {clean_line(each.fingerprint, 100)}")
    moderating.devices(c, "")
    if c.chat.sealed.available:
        c.chat.sealed.meet(c.chat.name)  # those that came since, and wait


def accept_device(c: Commands, rest: str) -> None:
    """/accept-device ID"""
    c.chat.sealed.accept_device(_device(c, "accept-device", rest))
    c.screen.note("that device takes part from now on; it reads what is said from now on")


def revoke(c: Commands, rest: str) -> None:
    """/revoke ID"""
    c.chat.sealed.revoke_device(_device(c, "revoke", rest))
    c.screen.note(
        "that device is out for ever. The others' machines learn it within ten minutes, or when you"
    )
    c.screen.note("say something next; what they say before that it may still open")


def _device(c: Commands, command: str, rest: str) -> str:
    """The one of our devices whose id begins so."""
    if not rest or " " in rest:
        c.teach(command)
    near = [each.id for each in c.chat.sealed.devices() if each.id.startswith(rest.lower())]
    return near[0] if len(near) == 1 else rest


def renew(c: Commands, rest: str) -> None:
    """/renew"""
    c.chat.sealed.renew_device()
    c.screen.note("this device is a new one now; /devices shows it")


def _put(known: dict[str, Known], key: str, value: Known) -> None:
    known.pop(key, None)
    known[key] = value
    while len(known) > MAX_KNOWN:
        del known[next(iter(known))]


VERIFY = (
    Command(
        "verify",
        "NAME [yes|emoji|same|different]",
        "make sure that a key is somebody's: compare 60 digits, or seven signs",
        verify,
        "as in /verify bob, then /verify bob yes once both of you saw the same digits; /verify bob emoji "
        "compares signs at both machines",
    ),
    Command(
        "verified",
        "NAME",
        "the digits of /verify are the same on both sides",
        verified,
        "as in /verified bob",
    ),
    Command(
        "accept",
        "NAME",
        "take the key that claims somebody's name now, after a warning that it changed",
        accept,
        "as in /accept bob, once bob has told you by another way that they have a new key",
    ),
)
DEVICES = (
    Command("devices", "", "your devices and their keys", devices),
    Command(
        "accept-device",
        "ID",
        "let another device of yours read sealed rooms",
        accept_device,
        "as in /accept-device 1a2b; /devices shows the ids, and on the other device the same key",
    ),
    Command(
        "revoke", "ID", "take a device of yours out of sealed rooms, for ever", revoke, "as in /revoke 1a2b"
    ),
    Command("renew", "", "make this device a new one, after a warning that its keys are an old copy", renew),
)
