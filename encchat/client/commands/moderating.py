"""The slash commands of owners and moderators, and those for one's own devices: what each asks for.

Whether somebody may do it, only the server decides. What it did comes back as an entry of the room.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from encchat import messages as m
from encchat.client.commands.command import Command
from encchat.core.identity import is_fingerprint
from encchat.errors import UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Seconds of each unit of a duration, and of all of it at most.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
MAX_SECONDS = 2**31 - 1

#: What begins with a digit was meant as a duration: a typing error must not become a ban for ever.
_MEANT = re.compile(r"[0-9]\S*\Z")
_DURATION = re.compile(r"([0-9]{1,10})([smhdw])\Z")


class BadDuration(UsageError):
    """{text} is no duration. Write a number and its unit, such as 90s, 10m, 2h or 1d; without one it holds
    until it is undone. A reason begins with a letter."""


class NoFingerprint(UsageError):
    """{text} is not a fingerprint. /devices shows those of your devices: SHA256: and 43 characters."""


def parse_duration(text: str) -> int:
    """So many seconds, at least 1.

    :raises BadDuration: it is not one.
    """
    found = _DURATION.match(text.lower())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= MAX_SECONDS:
        raise BadDuration(text=text[:40])
    return seconds


def _target(c: Commands, command: str, rest: str) -> tuple[str, str]:
    """The name that a command begins with, and what follows."""
    name, _, more = rest.partition(" ")
    if not name:
        c.teach(command)
    return c.name(name), more.strip()


def _only(c: Commands, command: str, rest: str) -> str:
    """The name that is all that a command takes."""
    name, more = _target(c, command, rest)
    if more:
        c.teach(command)
    return name


def reason_of(text: str) -> str:
    """A reason as it is sent."""
    return clean_line(text, 200)


def until_of(text: str) -> tuple[int, str]:
    """A duration in seconds if one comes first (0: none), and the reason after it."""
    word, _, more = text.partition(" ")
    if not _MEANT.match(word):
        return 0, reason_of(text)
    return parse_duration(word), reason_of(more.strip())


def invite(c: Commands, rest: str) -> None:
    """/invite NAME"""
    name = _only(c, "invite", rest)
    c.act(lambda id, room, msgid: m.Invite(id, room, msgid, name))


def kick(c: Commands, rest: str) -> None:
    """/kick NAME [REASON]"""
    name, more = _target(c, "kick", rest)
    c.act(lambda id, room, msgid: m.Kick(id, room, msgid, name, reason_of(more)))


def ban(c: Commands, rest: str) -> None:
    """/ban NAME [DURATION] [REASON]"""
    name, more = _target(c, "ban", rest)
    seconds, reason = until_of(more)
    c.act(lambda id, room, msgid: m.Ban(id, room, msgid, name, seconds, reason))


def unban(c: Commands, rest: str) -> None:
    """/unban NAME"""
    name = _only(c, "unban", rest)
    c.act(lambda id, room, msgid: m.Unban(id, room, msgid, name))


def mute(c: Commands, rest: str) -> None:
    """/mute NAME [DURATION] [REASON]"""
    name, more = _target(c, "mute", rest)
    seconds, reason = until_of(more)
    c.act(lambda id, room, msgid: m.Mute(id, room, msgid, name, seconds, reason))


def unmute(c: Commands, rest: str) -> None:
    """/unmute NAME"""
    name = _only(c, "unmute", rest)
    c.act(lambda id, room, msgid: m.Unmute(id, room, msgid, name))


def op(c: Commands, rest: str) -> None:
    """/op NAME"""
    _give(c, _only(c, "op", rest), "moderator")


def owner(c: Commands, rest: str) -> None:
    """/owner NAME"""
    _give(c, _only(c, "owner", rest), "owner")


def deop(c: Commands, rest: str) -> None:
    """/deop NAME"""
    _give(c, _only(c, "deop", rest), "member")


def _give(c: Commands, name: str, role: Literal["owner", "moderator", "member"]) -> None:
    c.act(lambda id, room, msgid: m.Role(id, room, msgid, name, role))


def access(c: Commands, rest: str) -> None:
    """/access [open|private] [topic members|moderators]"""
    words = rest.lower().split()
    if not words:
        room = c.current_room()
        c.online()
        c.chat.ask(lambda id: m.About(id, room))
        return
    from encchat.core.moderation.rules import (  # the server's rules: not at every start of the client
        ACCESS,
        TOPIC_BY,
    )

    entry = words.pop(0) if words[0] in ACCESS else ""
    topic_by = ""
    if len(words) == 2 and words[0] == "topic" and words[1] in TOPIC_BY:
        _, topic_by = words
    elif words:
        c.teach("access")
    c.act(lambda id, room, msgid: m.Access(id, room, msgid, entry, topic_by))


def link(c: Commands, rest: str) -> None:
    """/link"""
    if rest:
        c.teach("link")
    c.online()
    c.chat.ask(m.Link)


def devices(c: Commands, rest: str) -> None:
    """/devices"""
    if rest:
        c.teach("devices")
    c.online()
    c.chat.session.whois(c.chat.name)
    c.chat.flush()


def unlink(c: Commands, rest: str) -> None:
    """/unlink FINGERPRINT"""
    if not rest:
        c.teach("unlink")
    if not is_fingerprint(rest):
        raise NoFingerprint(text=rest[:80])
    c.online()
    c.chat.ask(lambda id: m.Unlink(id, rest))


def nick(c: Commands, rest: str) -> None:
    """/nick"""
    c.screen.note(
        "Your name belongs to your key. For another name, with a key of its own: "
        "/quit, then encchat-client --name NAME"
    )


COMMANDS = (
    Command("kick", "NAME [REASON]", "put somebody out of this room", kick, "as in /kick bob enough"),
    Command(
        "ban",
        "NAME [10m|2h|1d] [REASON]",
        "put somebody out, and keep them out",
        ban,
        "as in /ban mallory 2h spam; without a time it holds until /unban",
    ),
    Command("unban", "NAME", "lift a ban", unban),
    Command(
        "mute",
        "NAME [10m|2h|1d] [REASON]",
        "let somebody read but not write",
        mute,
        "as in /mute bob 10m; without a time it holds until /unmute",
    ),
    Command("unmute", "NAME", "let somebody write again", unmute),
    Command("op", "NAME", "make somebody a moderator of this room", op),
    Command("owner", "NAME", "make somebody an owner of this room", owner),
    Command("deop", "NAME", "take somebody's role", deop),
)
DEVICES = (
    Command("link", "", "a code with which another device of yours takes part as you", link),
    Command("unlink", "FINGERPRINT", "take a device's key from your name", unlink),
    Command("nick", "", "how to have another name", nick),
)
