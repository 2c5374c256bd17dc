"""How a room's log looks outside of it: JSON lines, text, and a page of HTML that needs nothing else.

JSON lines hold everything, with all that is not plain ASCII escaped. Text and HTML are for people: what
people wrote is cleaned (``encchat.text``), and in HTML escaped, so that nothing in it can act.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from html import escape
from typing import Protocol, TypeAlias

from encchat.core.names import is_open
from encchat.core.plain import happening_line, shown_name
from encchat.messages import Entry
from encchat.text import clean, clean_line


class Room(Protocol):
    """What is told of a room: its name, up to which seq its entries are not there any more, and whether
    those of a sealed room have been opened, as a member's client keeps them."""

    @property
    def name(self) -> str: ...
    @property
    def floor(self) -> int: ...
    @property
    def opened(self) -> bool: ...


#: Pairs of a room and its entries.
Rooms: TypeAlias = Iterable[tuple[Room, Iterable[Entry]]]

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>encchat</title>
<style>
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem;
  color: #222; background: #fff; overflow-wrap: anywhere }
@media (prefers-color-scheme: dark) { body { color: #ddd; background: #181818 } }
/* What follows the first line of a message stands further in, so that it looks like no other's. */
p { margin: .2rem 0; padding-left: 3rem; text-indent: -3rem; white-space: pre-wrap; unicode-bidi: isolate }
time { opacity: .7; font-size: .8rem; margin-right: .6rem }
.act { font-style: italic; opacity: .8 }
:target { outline: 2px solid }
</style>
</head>
<body>
"""


def as_json(found: Rooms) -> Iterator[str]:
    """A JSON object a line for each entry: its fields by name, ``msgid`` in hexadecimal; ``body`` is text, or
    ``body_base64`` where it is none, as in sealed rooms that were not opened."""
    for room, entries in found:
        for entry in entries:
            fields: dict[str, object] = {
                "room": entry.room,
                "seq": entry.seq,
                "time": entry.time,
                "sender": entry.sender,
                "device": entry.device,
                "kind": entry.kind,
                "msgid": entry.msgid.hex(),
            }
            try:
                if not (room.opened or is_open(entry.room)):
                    raise ValueError("sealed, whatever its bytes look like")
                fields["body"] = entry.body.decode()
            except ValueError:
                fields["body_base64"] = b64encode(entry.body).decode()
            yield json.dumps(fields).replace("\x7f", "\\u007f")


def as_text(found: Rooms) -> Iterator[str]:
    """A line for each line of a message, with its time (UTC) and number. Those after its first begin with
    ``|``, which no name does: nobody can make them look like another's message."""
    for room, entries in found:
        yield f"# {clean_line(room.name)}{_gone(room)}"
        for entry in entries:
            place = f"{_when(entry)} #{entry.seq}"
            first, *more = _words(entry, room.opened).split("\n")
            yield f"{place} {first}"
            for line in more:
                yield f"{place} | {line}"


def as_html(found: Rooms) -> Iterator[str]:
    """One page; each entry can be pointed at by ``#ROOM-SEQ``."""
    yield _HEAD
    for room, entries in found:
        name = escape(clean_line(room.name))
        yield f"<h2>{name}</h2>"
        if room.floor:
            yield f'<p class="act">{escape(_gone(room).strip())}</p>'
        for entry in entries:
            yield _paragraph(entry, room.opened)
    yield "</body>\n</html>"


def _paragraph(entry: Entry, opened: bool) -> str:
    if entry.kind == "text":
        words = f"<b>{escape(shown_name(entry.sender))}</b> {escape(_body(entry))}"
    elif entry.kind == "me":
        words = f"<i>{escape(_words(entry, opened))}</i>"
    else:
        words = f'<span class="act">{escape(_words(entry, opened))}</span>'
    anchor = escape(f"{clean_line(entry.room)}-{entry.seq}")
    when = _when(entry)
    return f'<p id="{anchor}"><time datetime="{when.replace(" ", "T")}">{when} #{entry.seq}</time>{words}</p>'


def _words(entry: Entry, opened: bool) -> str:
    """An entry as people read it; what is no plain message in the words that clients have for it."""
    if entry.kind == "text":
        return f"{shown_name(entry.sender)}: {_body(entry)}"
    if entry.kind == "me":
        return f"* {shown_name(entry.sender)} {_body(entry)}"
    if entry.kind in ("sealed", "roster") and not opened:  # for its members' clients alone to read
        sealed = ", sealed" if entry.kind == "sealed" else ""
        return f"* {shown_name(entry.sender)}, {entry.kind}: ({len(entry.body)} bytes{sealed})"
    return f"* {happening_line(entry)}"


def _body(entry: Entry) -> str:
    return clean(entry.body.decode("utf-8", "replace"))


def _gone(room: Room) -> str:
    return f" (the first {room.floor} entries have left the log)" if room.floor else ""


def _when(entry: Entry) -> str:
    try:
        return datetime.fromtimestamp(entry.time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a year that the calendar has not
        return f"{entry.time} ms"


FORMATS: dict[str, Callable[[Rooms], Iterator[str]]] = {"json": as_json, "text": as_text, "html": as_html}
