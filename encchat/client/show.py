"""What happens, in words for people: lines for messages, one line for anything else.

Everything from outside is cleaned here (``encchat.text``), so that nothing but text reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import msgspec

from encchat.client import events as e
from encchat.errors import EncchatError
from encchat.messages import Entry, Member, Profile, RoomInfo
from encchat.text import clean, clean_line

#: Names in a list at most.
MAX_NAMES = 200
#: Kinds of entries that are messages; others are told in a line of their own.
TALK = frozenset({"text", "me"})


def body_lines(entry: Entry) -> list[str]:
    """The lines of a message, cleaned; at least one."""
    return clean(entry.body.decode("utf-8", "replace")).split("\n")


def talk_lines(entry: Entry) -> list[str]:
    """A message as lines, each saying whose it is: ``alice: text``, ``* alice waves``."""
    name = shown_name(entry.sender)
    start = f"* {name} " if entry.kind == "me" else f"{name}: "
    return [start + line for line in body_lines(entry)]


def happening_line(entry: Entry) -> str:
    """An entry that is no message, in one line."""
    name = shown_name(entry.sender)
    if entry.kind == "topic":
        topic = clean_line(entry.body.decode("utf-8", "replace"), 1000)
        return (
            f"{name} set the topic of {clean_line(entry.room)} to: {topic}"
            if topic
            else f"{name} cleared the topic"
        )
    if entry.kind in ACTS:
        return f"{name} {_act(entry)}"
    return f"{name} sent something that this version cannot show ({clean_line(entry.kind)})"


#: How an act of a moderator reads; the facts are those of its body, a JSON object.
ACTS = {
    "kick": "put {name} out",
    "ban": "banned {name}",
    "unban": "lifted the ban of {name}",
    "mute": "muted {name}",
    "unmute": "lets {name} speak again",
    "invite": "invited {name}",
    "role": "made {name} {role}",
    "access": "changed who may come in",
}


def _act(entry: Entry) -> str:
    try:
        body = msgspec.json.decode(entry.body, type=dict[str, str | int])
        facts = {name: clean_line(str(fact), 200) for name, fact in body.items()}
        text = ACTS[entry.kind].format_map(facts)
    except (msgspec.MsgspecError, KeyError):
        return f"did something ({clean_line(entry.kind)})"
    reason = facts.get("reason", "")
    return f"{text}: {reason}" if reason else text


def shown_name(name: str) -> str:
    """A name from the server, safe to show."""
    return clean_line(name, 64) or "?"


def member_names(members: Iterable[Member]) -> str:
    """Names in the order of the alphabet, classic peers marked."""
    names = sorted(
        (shown_name(member.name) + (" (classic)" if member.classic else "") for member in members),
        key=str.casefold,
    )
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "") if names else "nobody"


def status_line(event: e.Event) -> str | None:
    """What happened besides messages, in one line; None for what needs no words."""
    match event:
        case e.Admitted():
            return f"connected as {shown_name(event.name)}" + (
                "; the server began a new log" if event.new_log else ""
            )
        case e.JoinedRoom():
            return _joined(event)
        case e.NotJoined():
            return f"cannot join {clean_line(event.room)}: {_said(event)}"
        case e.LeftRoom():
            return f"left {clean_line(event.room)}"
        case e.PutOut():
            return clean_line(event.text, 1000)
        case e.WasInvited():
            return f"{shown_name(event.name)} invites you into {clean_line(event.room)}"
        case e.Announced():
            return f"the server's operator says: {clean_line(event.text, 1000)}"
        case e.Lost():
            gone = _count(event.count, "entry", "entries")
            return f"{gone} of {clean_line(event.room)} left the server's log unread"
        case e.NotSent():
            return f"not sent to {clean_line(event.item.room)}: {_said(event)}"
        case e.Delayed():
            return f"the server asks to wait {event.seconds:.3g} s: {_said(event)}"
        case e.CameOrWent():
            who = shown_name(event.name) + (" (classic)" if event.classic else "")
            return f"{who} {'joined' if event.here else 'left'} {clean_line(event.room)}"
        case e.RoomMembers():
            return f"in {clean_line(event.room)}: {member_names(event.members)}" if event.request else None
        case e.RequestFailed():
            return _said(event)
        case e.ServerComplains():
            return f"the server says: {_said(event)}"
        case e.ServerCloses():
            return f"the server closes the connection: {clean_line(event.reason, 1000)}"
        case e.LinkLost():
            return f"{clean_line(event.reason, 1000)} Trying again in {event.wait:.1f} s."
    return None


def room_lines(rooms: Iterable[RoomInfo]) -> list[str]:
    """A list of rooms."""
    return [
        f"{clean_line(info.room)}: {info.members} here, {_count(info.entries, 'entry', 'entries')}"
        + (f", {clean_line(info.topic, 200)}" if info.topic else "")
        for info in rooms
    ] or ["there are no rooms"]


def profile_lines(profile: Profile) -> list[str]:
    """Who has a name."""
    where = ", ".join(map(clean_line, profile.rooms)) or "no room of yours"
    how = "a certificate authority vouches for the name" if profile.vouched else "the name's first key"
    lines = [
        f"{shown_name(profile.name)} is {'here' if profile.online else 'away'}, in {where}",
        f"key {clean_line(profile.fingerprint, 100)}",
    ]
    if profile.classic:
        return [*lines, "speaks the classic profile: nobody proved who that is"]
    return [*lines, f"{how}, since {moment(profile.since, '%Y-%m-%d')}"]


def moment(milliseconds: int, form: str) -> str:
    """A time of the server in local time; ``?`` for one that no clock shows."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return "?"


def _joined(event: e.JoinedRoom) -> str:
    missed = event.head.seq - event.start.seq
    here = f"in {clean_line(event.room)} with {member_names(event.members)}"
    if event.topic:
        here += f"; topic: {clean_line(event.topic, 200)}"
    if not event.first:
        here = f"back in {clean_line(event.room)}"
    return here + (f"; {_count(missed, 'entry', 'entries')} from before" if missed else "")


def _said(event: e.NotJoined | e.NotSent | e.Delayed | e.RequestFailed | e.ServerComplains) -> str:
    return clean_line(event.text, 1000) or clean_line(event.code)


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"


def sentence(error: EncchatError) -> str:
    """An error for the user's eyes, in one line."""
    return clean_line(str(error), 2000)
