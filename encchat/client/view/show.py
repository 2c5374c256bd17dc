"""What happens, in words for people: lines for messages, one line for anything else.

Everything from outside is cleaned here (``encchat.text``), so that nothing but text reaches a terminal.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Sequence
from datetime import datetime
from functools import lru_cache

from encchat.client import events as e
from encchat.core.plain import duration, shown_name, size_words
from encchat.errors import EncchatError
from encchat.messages import Entry, Member, Profile, Restriction, RoomInfo, RoomProfile
from encchat.text import clean, clean_line

#: Names in a list at most.
MAX_NAMES = 200


def body_lines(entry: Entry) -> list[str]:
    """The lines of a message, cleaned; at least one."""
    return clean(entry.body.decode("utf-8", "replace")).split("\n")


def talk_lines(entry: Entry) -> list[str]:
    """A message as lines, each saying whose it is: ``alice: text``, ``* alice waves``."""
    name = shown_name(entry.sender)
    start = f"* {name} " if entry.kind == "me" else f"{name}: "
    return [start + line for line in body_lines(entry)]


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
                "; the server keeps its log in memory only, and has begun a new one" if event.new_log else ""
            )
        case e.JoinedRoom():
            return _joined(event)
        case e.NotJoined():
            return f"cannot join {clean_line(event.room)}: {_said(event)}" + _made_so(event)
        case e.LeftRoom():
            return f"left {clean_line(event.room)}"
        case e.PutOut():
            return clean_line(event.text, 1000)
        case e.WasInvited():
            return f"{shown_name(event.name)} invites you into {clean_line(event.room)}"
        case e.Announced():
            return f"the server's operator says: {clean_line(event.text, 1000)}"
        case e.Unlinked():
            return "the key was taken from your name"
        case e.Lost():
            gone = count(event.count, "entry", "entries")
            return f"{gone} of {clean_line(event.room)} left the server's log unread"
        case e.NotSent():
            return f"not sent to {clean_line(event.item.room)}: {_said(event)}"
        case e.Delayed(code="cannot-keep"):
            return f"not sent yet: {_said(event)}"
        case e.Delayed():
            return f"the server asks to wait {event.seconds:.3g} s: {_said(event)}"
        case e.CameOrWent():
            who = shown_name(event.name) + (" (classic)" if event.classic else "")
            return f"{who} {'joined' if event.here else 'left'} {clean_line(event.room)}"
        case e.RoomMembers():
            return f"in {clean_line(event.room)}: {member_names(event.members)}" if event.request else None
        case e.ActDone(_, act, ""):
            return f"done on the whole server: {act}"
        case e.RequestFailed():
            return _said(event)
        case e.FileGiven(_, _, name):
            return f"the server has all of {shown_name(name)}"
        case e.FileSaved(_, _, name, size, _, path):
            return f"saved {shown_name(name)} ({size_words(size)}) as {clean_line(path)}"
        case e.FileFailed(_, _, name, up):
            return f"{shown_name(name)} was not {'sent' if up else 'saved'}: {clean_line(event.text, 1000)}"
        case e.ServerComplains():
            return f"the server says: {_said(event)}"
        case e.ServerCloses():
            return f"the server closes the connection: {clean_line(event.reason, 1000)}"
        case e.LinkLost():
            return f"{clean_line(event.reason, 1000)} Trying again in {event.wait:.1f} s."
    return None


def _made_so(event: e.NotJoined) -> str:
    """How a room comes to be that is not there: in IRC every one begins with #, and joining makes it."""
    room = clean_line(event.room)
    if event.code not in ("invite-only", "no-such-room") or not room.startswith("#"):
        return ""
    return f" /create {room} makes one that is yours; /join +{room[1:]} is an open room"


def progress_words(done: int, size: int) -> str:
    """How far a file has come: ``45 % of 1.2 MiB``."""
    return f"{100 * done // size if size else 100} % of {size_words(size)}"


def answer_lines(event: e.Event) -> list[str]:
    """An answer to a question, which may take several lines; none for any other event."""
    match event:
        case e.RoomsListed():
            return room_lines(event.rooms)
        case e.ProfileFound():
            return profile_lines(event.profile)
        case e.RoomDescribed():
            return about_lines(event.profile)
        case e.LinkCode():
            return code_lines(event)
    return []


def room_lines(rooms: Iterable[RoomInfo]) -> list[str]:
    """A list of rooms."""
    return [
        f"{clean_line(info.room)}: {info.members} here, {count(info.entries, 'entry', 'entries')}"
        + (", private" if info.private else "")
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
        *(f"key {clean_line(key, 100)} of a device that was linked later" for key in profile.keys),
    ]
    if profile.classic:
        return [*lines, "speaks the classic profile: nobody proved who that is"]
    return [*lines, f"{how}, since {moment(profile.since, '%Y-%m-%d')}"]


def about_lines(profile: RoomProfile) -> list[str]:
    """How a room is run, and by whom."""
    room = clean_line(profile.room)
    entry = "only who was invited may come in" if profile.access == "private" else "everybody may come in"
    who = "only moderators set" if profile.topic_by == "moderators" else "every member may set"
    lines = [f"{room}: {entry}, {who} the topic"]
    for role in ("owner", "moderator"):
        names = [standing.name for standing in profile.roles if standing.role == role]
        if names:
            lines.append(f"{role}s: {_names(names)}")
    for what, restrictions in (("banned", profile.bans), ("muted", profile.mutes)):
        if restrictions:
            lines.append(f"{what}: {_names([_restricted(one) for one in restrictions])}")
    if profile.invites:
        lines.append(f"invited: {_names(profile.invites)}")
    return lines


def _names(names: Sequence[str]) -> str:
    more = len(names) - MAX_NAMES
    shown = ", ".join(clean_line(name, 200) for name in names[:MAX_NAMES])
    return shown + (f" and {more} more" if more > 0 else "")


def _restricted(one: Restriction) -> str:
    until = f", until {moment(one.until, '%Y-%m-%d %H:%M')}" if one.until else ""
    return f"{shown_name(one.name) if one.name else 'a key'} (by {shown_name(one.by)}{until})"


def code_lines(event: e.LinkCode) -> list[str]:
    """What to type on another device, safe to be pasted into a shell."""
    words = (
        "encchat-client",
        "--name",
        shown_name(event.name),
        "--link",
        clean_line(event.code),
        event.server,
    )
    within = duration(event.seconds) if event.seconds else "a moment"
    return [
        f"type this on your other device within {within}, with the --cipher of this one if you gave it one:",
        f"    {shlex.join(words)}",
        "the code is good for one device; tell it to nobody else",
    ]


def moment(milliseconds: int, form: str) -> str:
    """A time of the server in local time, exact to the minute; ``?`` for one that no clock shows."""
    return _minute(milliseconds // 60_000, form)


@lru_cache(maxsize=256)
def _minute(minutes: int, form: str) -> str:
    try:
        return datetime.fromtimestamp(minutes * 60).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return "?"


def now() -> int:
    """The time, as entries have it: milliseconds."""
    return int(time.time() * 1000)


def day_words(milliseconds: int) -> str:
    """The local day of a time of the server: ``Tuesday 2026-11-24``."""
    return moment(milliseconds, "%A %Y-%m-%d")


def _joined(event: e.JoinedRoom) -> str:
    missed = event.head.seq - event.start.seq
    here = f"in {clean_line(event.room)} with {member_names(event.members)}"
    if event.topic:
        here += f"; topic: {clean_line(event.topic, 200)}"
    if not event.first:
        here = f"back in {clean_line(event.room)}"
    return here + (f"; {count(missed, 'entry', 'entries')} from before" if missed else "")


def _said(event: e.NotJoined | e.NotSent | e.Delayed | e.RequestFailed | e.ServerComplains) -> str:
    return clean_line(event.text, 1000) or clean_line(event.code)


def count(number: int, one: str, many: str) -> str:
    """A number and what is counted: ``1 entry``, ``1,000 entries``."""
    return f"{number:,} {one if number == 1 else many}"


def sentence(error: EncchatError) -> str:
    """An error for the user's eyes, in one line."""
    return clean_line(str(error), 2000)
