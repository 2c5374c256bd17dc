"""The one-object-a-line form of ``--json``, version 1: what comes out, and what may go in.

Out: every object has ``v`` (1) and ``event``. Text is cleaned as for a terminal; times are milliseconds
since 1970-01-01 UTC, msgids and logs are hexadecimal.

    admitted    name, log, new_log, motd
    joined      room, topic, members [{name, classic}], head, start (the seqs), first
    not-joined  room, code, text
    left        room
    put-out     room, code, text
    invited     room, name
    announced   text
    message     room, seq, time, from, device, kind, text, msgid, own, old; of an act of a moderator ("kick",
                "ban", ...) text is a JSON object, and "shown" says it in words
    caught-up   room
    lost        room, count
    history     room, entries [as in message], more
    sent        room, msgid, seq, time, ref
    not-sent    room, msgid, code, text, ref
    waiting     code, text, seconds
    members     room, members
    rooms       rooms [{room, members, entries, topic, private}]
    profile     name, fingerprint, since, vouched, online, classic, rooms, keys (of further devices)
    about       room, access, topic_by, roles [{name, role}], bans, mutes [{name, by, until}], invites
    done        act ("kick", "ban", ...), room, seq, time: what a command did is stored
    link-code   code, seconds, name, server
    unlinked
    marked      room, seq: another device of this name has read so far
    presence    room, name, here, classic
    typing      room, name
    link        state "lost", text, seconds (to the next attempt); or state "closing", text
    notice      text
    error       code, text, line (of the input, counted from 1; or absent), ref

In: an object a line. ``{"text": "hello"}`` is a message to the room of ``--room``; it may have ``room``,
``kind`` ("text" or "me"), ``msgid`` (32 hexadecimal digits: the same one is stored only once, however often
it is sent) and ``ref`` (any string or number, carried back by sent, not-sent and error).
``{"command": "/who"}`` does what the line would do on a terminal. A string alone is a message.
"""

from __future__ import annotations

import json
from typing import TypeAlias

import msgspec
from msgspec import UNSET, Struct, UnsetType

from encchat.client import events as e
from encchat.client.show import body_lines
from encchat.core.plain import TALK, happening_line
from encchat.errors import UsageError
from encchat.messages import Entry, Member, Restriction
from encchat.text import clean, clean_line

VERSION = 1

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"


class BadInput(UsageError):
    """This line of input is not understood: {why}."""

    code = "bad-input"


class Input(Struct, forbid_unknown_fields=True):
    """One line of input."""

    text: str | None = None
    room: str | None = None
    kind: str = "text"
    msgid: str | None = None
    ref: str | int | None = None
    command: str | None = None


_decoder = msgspec.json.Decoder(Input | str)


def parse(line: bytes) -> Input:
    """One line of input.

    :raises BadInput: it is not one; says why.
    """
    try:
        found = _decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(why=str(error)) from None
    given = Input(text=found) if isinstance(found, str) else found
    if (given.text is None) == (given.command is None):
        raise BadInput(why="it must have either text or command")
    if given.kind not in ("text", "me"):
        raise BadInput(why=f"the kind is text or me, not {given.kind}")
    if given.msgid is not None and len(_hexadecimal(given.msgid)) != 16:
        raise BadInput(why="the msgid is not 32 hexadecimal digits")
    return given


def msgid_of(given: Input) -> bytes | None:
    """The msgid that the line names."""
    return None if given.msgid is None else _hexadecimal(given.msgid)


def line(event: str, **fields: Value | UnsetType) -> bytes:
    """One line of output, in ASCII, so that no terminal or log is steered by it."""
    known: dict[str, object] = {"v": VERSION, "event": event}
    known.update((name, value) for name, value in fields.items() if value is not UNSET)
    return json.dumps(known, separators=(",", ":")).encode("ascii") + b"\n"


def of_event(event: e.Event, ref: str | int | None = None) -> bytes | None:
    """The line for what happened; ``ref`` is what the input gave for the item."""
    match event:
        case e.Admitted(name, log, motd, _, new_log):
            return line("admitted", name=clean_line(name), log=log.hex(), new_log=new_log, motd=clean(motd))
        case e.JoinedRoom(room, head, start, members, topic, first):
            return line(
                "joined",
                room=clean_line(room),
                topic=clean_line(topic),
                members=_members(members),
                head=head.seq,
                start=start.seq,
                first=first,
            )
        case e.NotJoined(room, code, text):
            return line("not-joined", room=clean_line(room), code=clean_line(code), text=clean_line(text))
        case e.LeftRoom(room):
            return line("left", room=clean_line(room))
        case e.PutOut(room, code, text):
            return line("put-out", room=clean_line(room), code=clean_line(code), text=clean_line(text))
        case e.NewEntry(entry, own, old):
            return line("message", **_entry(entry), own=own, old=old)
        case e.CaughtUp(room):
            return line("caught-up", room=clean_line(room))
        case e.Lost(room, count):
            return line("lost", room=clean_line(room), count=count)
        case e.History(_, room, entries, more):
            return line("history", room=clean_line(room), entries=[_entry(x) for x in entries], more=more)
        case e.SearchFound(_, room, entries, reached, more):
            return line(
                "found",
                room=clean_line(room),
                entries=[_entry(entry) for entry in entries],
                reached=reached,
                more=more,
            )
        case e.Acknowledged(item, seq, time):
            return line("sent", room=item.room, msgid=item.msgid.hex(), seq=seq, time=time, ref=_given(ref))
        case e.NotSent(item, code, text):
            return line(
                "not-sent",
                room=item.room,
                msgid=item.msgid.hex(),
                code=clean_line(code),
                text=clean_line(text),
                ref=_given(ref),
            )
        case _:
            return _other(event)


def _other(event: e.Event) -> bytes | None:
    match event:
        case e.Delayed(code, text, seconds):
            return line("waiting", code=clean_line(code), text=clean_line(text), seconds=seconds)
        case e.RoomMembers(_, room, members):
            return line("members", room=clean_line(room), members=_members(members))
        case e.RoomsListed(_, rooms):
            return line(
                "rooms",
                rooms=[
                    {
                        "room": clean_line(info.room),
                        "members": info.members,
                        "entries": info.entries,
                        "topic": clean_line(info.topic),
                        "private": info.private,
                    }
                    for info in rooms
                ],
            )
        case e.ProfileFound(_, profile):
            return line(
                "profile",
                name=clean_line(profile.name),
                fingerprint=clean_line(profile.fingerprint),
                since=profile.since,
                vouched=profile.vouched,
                online=profile.online,
                classic=profile.classic,
                rooms=[clean_line(room) for room in profile.rooms],
                keys=[clean_line(key) for key in profile.keys],
            )
        case e.RoomDescribed(_, about):
            return line(
                "about",
                room=clean_line(about.room),
                access=clean_line(about.access),
                topic_by=clean_line(about.topic_by),
                roles=[{"name": clean_line(x.name), "role": clean_line(x.role)} for x in about.roles],
                bans=_restrictions(about.bans),
                mutes=_restrictions(about.mutes),
                invites=[clean_line(name) for name in about.invites],
            )
        case e.ActDone(_, act, room, seq, time):
            return line("done", act=act, room=clean_line(room), seq=seq, time=time)
        case e.LinkCode(_, code, seconds, name, server):
            name = clean_line(name)
            return line("link-code", code=clean_line(code), seconds=seconds, name=name, server=server)
        case e.Unlinked():
            return line("unlinked")
        case e.ReadElsewhere(room, seq):
            return line("marked", room=clean_line(room), seq=seq)
        case e.CameOrWent(room, name, here, classic):
            return line("presence", room=clean_line(room), name=clean_line(name), here=here, classic=classic)
        case e.WasInvited(room, name):
            return line("invited", room=clean_line(room), name=clean_line(name))
        case e.Announced(text):
            return line("announced", text=clean_line(text))
        case e.IsTyping(room, name):
            return line("typing", room=clean_line(room), name=clean_line(name))
        case e.RequestFailed(_, code, text) | e.ServerComplains(code, text):
            return line("error", code=clean_line(code), text=clean_line(text))
        case e.FileProgress():
            return line("file-progress", **_transfer(event), up=event.up, done=event.done, size=event.size)
        case e.FileGiven():
            msgid = event.msgid.hex()
            return line("file-given", **_transfer(event), size=event.size, hash=event.hash, msgid=msgid)
        case e.FileSaved():
            return line("file-saved", **_transfer(event), size=event.size, hash=event.hash, path=event.path)
        case e.FileFailed(code=code, text=text):
            code, text = clean_line(code), clean_line(text)
            return line("file-failed", **_transfer(event), up=event.up, code=code, text=text)
        case e.ServerCloses(reason):
            return line("link", state="closing", text=clean_line(reason))
        case e.LinkLost(reason, wait):
            return line("link", state="lost", text=clean_line(reason), seconds=round(wait, 3))
    return None


def _entry(entry: Entry) -> dict[str, Value]:
    shown: dict[str, Value] = {} if entry.kind in TALK else {"shown": happening_line(entry)}
    return {
        "room": clean_line(entry.room),
        "seq": entry.seq,
        "time": entry.time,
        "from": clean_line(entry.sender),
        "device": clean_line(entry.device),
        "kind": clean_line(entry.kind),
        "text": "\n".join(body_lines(entry)),
        "msgid": entry.msgid.hex(),
        **shown,
    }


def _transfer(event: e.FileProgress | e.FileGiven | e.FileSaved | e.FileFailed) -> dict[str, Value]:
    return {
        "transfer": event.transfer,
        "room": clean_line(event.room),
        "name": clean_line(event.name),
    }


def _members(members: tuple[Member, ...]) -> list[Value]:
    return [{"name": clean_line(member.name), "classic": member.classic} for member in members]


def _restrictions(restrictions: tuple[Restriction, ...]) -> list[Value]:
    return [{"name": clean_line(x.name), "by": clean_line(x.by), "until": x.until} for x in restrictions]


def _given(ref: str | int | None) -> str | int | UnsetType:
    return UNSET if ref is None else ref


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() and text.isalnum() else b""
    except ValueError:
        return b""
