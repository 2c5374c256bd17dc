"""The one-object-a-line form of ``--json``, version 1: what comes out, and what may go in.

docs/json.md says what each event holds, and what of it will stay. Text is cleaned as for a terminal; times
are milliseconds since 1970-01-01 UTC; msgids, logs and hashes are hexadecimal.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias

import msgspec
from msgspec import Struct

from encchat.client import events as e
from encchat.client.view.show import body_lines
from encchat.client.view.titles import retold
from encchat.contents import CONTENTS, Delete, Edit, File, NoContent, Reaction, Reply
from encchat.contents import parse as parse_content
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


def line(event: str, **fields: Value) -> bytes:
    """One line of output, in ASCII, so that no terminal or log is steered by it."""
    known = {"v": VERSION, "event": event, **fields}
    return json.dumps(known, separators=(",", ":")).encode("ascii") + b"\n"


def of_event(event: e.Event, ref: str | int | None = None, me: str = "") -> bytes | None:
    """The line for what happened; ``ref`` is what the input gave for the message or the request that this
    answers. Sentences are for ``me``: a conversation is called by the other's name."""
    told = _of_event(event, me)
    if told is None or ref is None or not (hasattr(event, "item") or hasattr(event, "request")):
        return told
    return _with(told, "ref", ref)


def _of_event(event: e.Event, me: str) -> bytes | None:
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
            return line("message", **_entry(entry, event.seal), own=own, old=old)
        case e.CaughtUp(room):
            return line("caught-up", room=clean_line(room))
        case e.Lost(room, count):
            return line("lost", room=clean_line(room), count=count)
        case e.History(_, room, entries, more):
            told = _entries(entries, event.seals)
            return line("history", room=clean_line(room), entries=told, more=more)
        case e.SearchFound(_, room, entries, reached, more):
            return line(
                "found",
                room=clean_line(room),
                entries=_entries(entries, event.seals),
                reached=reached,
                more=more,
            )
        case e.Acknowledged(item, seq, time):
            return line("sent", room=item.room, msgid=item.msgid.hex(), seq=seq, time=time)
        case e.NotSent(item, code, text):
            return line(
                "not-sent",
                room=item.room,
                msgid=item.msgid.hex(),
                code=clean_line(code),
                text=clean_line(retold(text, me)),
            )
        case _:
            return _other(event, me)


def _other(event: e.Event, me: str) -> bytes | None:
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
            return line("error", code=clean_line(code), text=clean_line(retold(text, me)))
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
        case e.SealedNews(news):
            from encchat.client.pipe.sealedjson import of_news  # it uses what is here

            return of_news(news, me)
        case e.ServerCloses(reason):
            return line("link", state="closing", text=clean_line(reason))
        case e.LinkLost(reason, wait):
            return line("link", state="lost", text=clean_line(reason), seconds=round(wait, 3))
    return None


def with_title(told: bytes, title: str) -> bytes:
    """A line about a conversation, with what people call it."""
    return _with(told, "title", title)


def _with(told: bytes, field: str, value: str | int) -> bytes:
    """A line with one more field."""
    return told[:-2] + f',"{field}":{json.dumps(value)}}}\n'.encode("ascii")


def _entries(entries: Sequence[Entry], seals: Sequence[e.Seal]) -> list[Value]:
    """A page of them; of a sealed room there is a seal for each."""
    return [_entry(entry, seal) for entry, seal in zip_longest(entries, seals[: len(entries)])]


def _entry(entry: Entry, seal: e.Seal | None) -> dict[str, Value]:
    text, more = _said(entry)
    if seal is not None:
        more["seal"] = {
            "state": clean_line(seal.state),
            "trust": clean_line(seal.trust),
            "vouched_by": clean_line(seal.vouched_by),
            "code": clean_line(seal.code),
            "reason": clean_line(seal.reason),
            "late": seal.late,
        }
    return {
        "room": clean_line(entry.room),
        "seq": entry.seq,
        "time": entry.time,
        "from": clean_line(entry.sender),
        "device": clean_line(entry.device),
        "kind": clean_line(entry.kind),
        "text": text,
        "msgid": entry.msgid.hex(),
        **more,
    }


def _said(entry: Entry) -> tuple[str, dict[str, Value]]:
    """What people read of an entry, and what there is besides."""
    if entry.kind in TALK:
        return "\n".join(body_lines(entry)), {}
    shown: dict[str, Value] = {"shown": happening_line(entry)}
    try:
        content = parse_content(entry.kind, entry.body) if entry.kind in CONTENTS else None
    except NoContent:
        content = None
    match content:
        case Reply() | Edit():
            return clean(content.text), {"target": content.target, **shown}
        case Delete():
            return "", {"target": content.target, **shown}
        case Reaction():
            return clean_line(content.sign), {"target": content.target, "undo": content.undo, **shown}
        case File():
            file: dict[str, Value] = {
                "size": content.size,
                "hash": content.hash,
                "type": clean_line(content.type),
            }
            return clean_line(content.name), {"file": file, **shown}
    return "\n".join(body_lines(entry)), shown


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


def _hexadecimal(text: str) -> bytes:
    try:
        return bytes.fromhex(text) if text.isascii() and text.isalnum() else b""
    except ValueError:
        return b""
