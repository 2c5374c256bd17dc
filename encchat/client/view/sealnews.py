"""What happens to keys, devices and identities, in words: what it is, what it may mean, what to do.

Everything from outside is cleaned here. What must not be overlooked is a warning, which consoles show as they
show what went wrong; nothing that somebody says in a room looks like either.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

from encchat.client.view.entrylines import name_key
from encchat.client.view.titles import title
from encchat.core.names import is_open
from encchat.core.plain import shown_name
from encchat.core.sealed import events as fx
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.events import Seal

#: Characters of a reason that are shown.
MAX_REASON = 300
#: Names in a list at most.
MAX_NAMES = 10

#: Lines, each with whether it is a warning.
Words: TypeAlias = list[tuple[bool, str]]

#: How a comparing that came to nothing ended.
_ENDINGS = {
    "cancelled": "one of you stopped it",
    "different": "THE SIGNS DIFFER: somebody may be between you",
    "commitment": "THE OTHER SIDE SHOWED ANOTHER KEY THAN IT PROMISED: somebody may be between you",
    "mac": "THE IDENTITIES DO NOT FIT: somebody may be between you",
    "identity-changed": "their identity has changed meanwhile",
    "timeout": "it took too long",
}

_TRUST = {
    fx.VERIFIED: "verified",
    fx.VOUCHED: "vouched for by the authority",
    fx.PINNED: "not verified",
    fx.CHANGED: "KEY CHANGED",
    fx.UNKNOWN: "not met yet",
}


def doubt(seal: Seal | None) -> str:
    """What is to be said of a message whose writer is less than proved; nothing of most."""
    if seal is None:
        return ""
    if seal.vouched_by:
        return f"  (by a key from {clean_line(seal.vouched_by, 40)}: who wrote it is not proved)"
    if seal.trust == fx.REVOKED:
        return "  (from a device that was taken back)"
    return ""


def trust_words(trust: str) -> str:
    """How sure an identity is."""
    return _TRUST.get(trust, "not met yet")


def room_words(chat: Chat, room: str) -> str:
    """How a room is protected: ``open``, or ``sealed`` and how sure it is who the others are."""
    if is_open(room):
        return "open"
    seal = chat.sealed.seal_of(room)
    if not chat.sealed.available:
        return "sealed, not usable here"
    if seal.forked:
        return "sealed, FORKED"
    if seal.blocked:
        return f"sealed, {names_words(seal.blocked[:2]).upper()}'S KEY CHANGED"
    unsure = [p.name for p in chat.sealed.members(room) if p.trust not in (fx.VERIFIED, fx.VOUCHED)]
    if len(unsure) == 1:
        words = f"sealed, {shown_name(unsure[0])} not verified"
    elif unsure:
        words = f"sealed, {len(unsure)} not verified"
    else:
        words = {fx.VERIFIED: "sealed, verified", fx.VOUCHED: "sealed, vouched for"}.get(seal.trust, "sealed")
    return words + (f", {seal.waiting} without key" if seal.waiting else "")


def names_words(names: Sequence[str]) -> str:
    """Some names."""
    more = len(names) - MAX_NAMES
    return ", ".join(map(shown_name, names[:MAX_NAMES])) + (f" and {more} more" if more > 0 else "")


def digit_lines(digits: str) -> list[str]:
    """60 digits in three lines of four groups of five."""
    groups = digits.split()
    return ["    " + "  ".join(groups[start : start + 4]) for start in range(0, len(groups), 4)]


def news_lines(news: fx.Event, me: str) -> Words:
    """One piece of news in lines; none for what is told in another way."""
    match news:
        case fx.IdentityMet(name, fingerprint, trust):
            return _met(shown_name(name), _key(fingerprint), trust)
        case fx.IdentityChanged(name, before, now) if me and name_key(name) == name_key(me):
            return _own_changed(shown_name(name), _key(before), _key(now))
        case fx.IdentityChanged(name, before, now, reason):
            return _changed(shown_name(name), _key(before), _key(now), _reason(reason))
        case fx.SendBlocked(room, names):
            return _blocked(title(room, me), names)
        case fx.Forked(room, seq, sender):
            return [
                (
                    True,
                    f"THE SERVER SHOWS {title(room, me)} DIFFERENTLY to {shown_name(sender)}: see #{seq}.",
                ),
                (True, "Rely on nothing in this room any more but what you compare by another way."),
            ]
        case fx.RolledBack(room):
            return [
                (
                    True,
                    f"This device's keys are an OLD COPY: {title(room, me)} has messages of it that it does",
                ),
                (True, "not know. Perhaps its disk was restored. Nothing is sent to sealed rooms any more."),
                (True, "/renew makes it a new device; what it could read it still can."),
            ]
        case fx.SasAsked() | fx.SasShown() | fx.SasEnded() | fx.Verified():
            return _comparing(news)
    return _device(news, me)


def _met(name: str, key: str, trust: str) -> Words:
    if trust == fx.VOUCHED:
        return [(False, f"{name} has the key {key}, as the authority says")]
    return [
        (False, f"met {name} for the first time: their key is {key}"),
        (False, f"/verify {name} makes sure that it is {name}'s"),
    ]


def _changed(name: str, before: str, now: str, reason: str) -> Words:
    return [
        (True, f"{name.upper()}'S KEY CHANGED{f' ({reason})' if reason else ''}."),
        (True, f"    before: {before}"),
        (True, f"    now:    {now}"),
        (True, f"Perhaps {name} has another machine, or had to begin anew; perhaps somebody pretends to be"),
        (True, f"{name}. Ask {name} by another way. Until then nothing goes to sealed rooms with {name}."),
        (True, f"/accept {name} shows both keys and takes the new one; /verify {name} compares it first."),
    ]


def _own_changed(name: str, here: str, other: str) -> Words:
    return [
        (True, "ANOTHER KEY says which devices are yours."),
        (True, f"    this machine: {here}"),
        (True, f"    the other:    {other}"),
        (True, "If it is that of your first machine, as its /devices shows, then this is a further one of"),
        (True, f"yours: /accept {name} here, and then /devices and /accept-device there. Else somebody has"),
        (True, "taken your name: tell the others by another way."),
    ]


def _blocked(room: str, names: Sequence[str]) -> Words:
    who, one = names_words(names), shown_name(names[0]) if names else "?"
    out = "" if room.startswith("@") else f", or once {one} was put out: /kick {one}"
    return [
        (True, f"not sent to {room} yet, as another key claims to be {who}'s. It is kept here, and sent"),
        (True, f"after /accept {one}{out}"),
    ]


def _comparing(news: fx.SasAsked | fx.SasShown | fx.SasEnded | fx.Verified) -> Words:
    name = shown_name(news.name)
    match news:
        case fx.SasAsked():
            return [
                (False, f"{name} would like to compare seven signs with you, to be sure who is who"),
                (False, f"/verify {name} emoji begins, /verify {name} no declines"),
            ]
        case fx.SasShown(signs=signs, words=words):
            shown = [clean_line(f"{sign} {word}", 20) for sign, word in zip(signs, words, strict=False)]
            return [
                (False, f"{name} must see the same seven signs, in this order; ask by telephone or look:"),
                (False, "    " + "   ".join(shown[:4])),
                (False, "    " + "   ".join(shown[4:])),
                (False, f"/verify {name} same, or /verify {name} different"),
            ]
        case fx.SasEnded(reason=fx.ELSEWHERE):
            return [(False, f"comparing signs with {name} goes on at the machine where it was answered")]
        case fx.SasEnded(reason=reason):
            words_ = _ENDINGS.get(reason, _reason(reason))
            return [(words_[:3].isupper(), f"comparing signs with {name} came to nothing: {words_}")]
    return [(False, f"{name} is verified now: {_key(news.fingerprint)}")]


def _device(news: fx.Event, me: str) -> Words:
    match news:
        case fx.DeviceChanged(name, device, here):
            what = "has a further device" if here else "no longer has the device"
            return [(False, f"{shown_name(name)} {what} ({_id(device)})")]
        case fx.KeysRejected(name, device, reason):
            return [
                (
                    True,
                    f"keys that the server gave out for {shown_name(name)} do not hold, and are not used:",
                ),
                (True, f"    {_reason(reason)}{f' (device {_id(device)})' if device else ''}"),
            ]
        case fx.OwnDeviceWaits(device, fingerprint):
            return [
                (True, f"a device wants to take part as you: {_id(device)}"),
                (True, f"    its key is {_key(fingerprint)}"),
                (
                    True,
                    f"Only if it is yours and shows this key in its /devices: /accept-device {_id(device)}",
                ),
            ]
        case fx.DeviceReady(_, True):
            return [(False, "this device takes part in sealed rooms")]
        case fx.DeviceReady(device):
            return [
                (
                    True,
                    f"this device ({_id(device)}) cannot read sealed rooms yet: another one of yours has to",
                ),
                (True, "let it in. Compare the keys that /devices shows on both, and type there:"),
                (True, f"    /accept-device {_id(device)}"),
            ]
        case fx.MailRejected(sender, _, reason):
            return [
                (False, f"a letter with keys, said to be {shown_name(sender)}'s, was thrown away:"),
                (False, f"    {_reason(reason)}"),
            ]
        case fx.Unreachable(room, names):
            who = names_words(names)
            return [(False, f"{who} cannot read {title(room, me)} yet, for want of a device that could")]
        case fx.RosterRejected(room, seq, _, sender, reason):
            who = shown_name(sender)
            return [
                (True, f"#{seq} of {title(room, me)}: {who} tried to change who is in, which does not hold:"),
                (True, f"    {_reason(reason)}. Nothing was changed."),
            ]
    return []


def _key(fingerprint: str) -> str:
    return clean_line(fingerprint, 100)


def _id(device: str) -> str:
    return clean_line(device, 40)


def _reason(reason: str) -> str:
    return clean_line(reason, MAX_REASON)
