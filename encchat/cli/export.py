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
from typing import TypeAlias

from encchat.core.names import is_open
from encchat.logs.offline import Room
from encchat.messages import Entry
from encchat.text import clean, clean_line

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
p { margin: .2rem 0; white-space: pre-wrap; unicode-bidi: isolate }
time { opacity: .7; font-size: .8rem; margin-right: .6rem }
.act { font-style: italic; opacity: .8 }
:target { outline: 2px solid }
</style>
</head>
<body>
"""


def as_json(found: Rooms) -> Iterator[str]:
    """A JSON object a line for each entry: its fields by name, ``msgid`` in hexadecimal; ``body`` is text, or
    ``body_base64`` where it is none, as in sealed rooms."""
    for _, entries in found:
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
                if not is_open(entry.room):
                    raise ValueError("sealed, whatever its bytes look like")
                fields["body"] = entry.body.decode()
            except ValueError:
                fields["body_base64"] = b64encode(entry.body).decode()
            yield json.dumps(fields).replace("\x7f", "\\u007f")


def as_text(found: Rooms) -> Iterator[str]:
    """A line for each line of a message, with its time (UTC)."""
    for room, entries in found:
        yield f"# {clean_line(room.name)}{_gone(room)}"
        for entry in entries:
            start = {"text": f"{_sender(entry)}: ", "me": f"* {_sender(entry)} "}.get(entry.kind, _act(entry))
            for line in _body(entry).split("\n"):
                yield f"{_when(entry)} {start}{line}"


def as_html(found: Rooms) -> Iterator[str]:
    """One page; each entry can be pointed at by ``#ROOM-SEQ``."""
    yield _HEAD
    for room, entries in found:
        name = escape(clean_line(room.name))
        yield f"<h2>{name}</h2>"
        if room.floor:
            yield f'<p class="act">{escape(_gone(room).strip())}</p>'
        for entry in entries:
            yield _paragraph(entry)
    yield "</body>\n</html>"


def _paragraph(entry: Entry) -> str:
    sender, body = escape(_sender(entry)), escape(_body(entry))
    if entry.kind == "text":
        words = f"<b>{sender}</b> {body}"
    elif entry.kind == "me":
        words = f"<i>* {sender} {body}</i>"
    else:
        words = f'<span class="act">{escape(_act(entry))}{body}</span>'
    anchor = escape(f"{clean_line(entry.room)}-{entry.seq}")
    when = _when(entry)
    return f'<p id="{anchor}"><time datetime="{when.replace(" ", "T")}">{when}</time>{words}</p>'


def _sender(entry: Entry) -> str:
    return clean_line(entry.sender)


def _body(entry: Entry) -> str:
    if not is_open(entry.room):
        what = ", sealed" if entry.kind == "sealed" else ""
        return f"({len(entry.body)} bytes{what})"
    return clean(entry.body.decode("utf-8", "replace"))


def _act(entry: Entry) -> str:
    """How an entry that is no message begins; its body is the topic, or the facts as JSON."""
    return f"* {_sender(entry)}, {clean_line(entry.kind)}: "


def _gone(room: Room) -> str:
    return f" (the first {room.floor} entries have left the log)" if room.floor else ""


def _when(entry: Entry) -> str:
    try:
        return datetime.fromtimestamp(entry.time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (ValueError, OverflowError, OSError):  # a year that the calendar has not
        return f"{entry.time} ms"


FORMATS: dict[str, Callable[[Rooms], Iterator[str]]] = {"json": as_json, "text": as_text, "html": as_html}
