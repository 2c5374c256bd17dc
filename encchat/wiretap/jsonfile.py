"""What passes, as JSON lines: version 1, described in docs/json.md. Text is cleaned, and in ASCII."""

from __future__ import annotations

import json

from encchat.text import clean_line
from encchat.wiretap.files import WireFile
from encchat.wiretap.seen import Began, Ended, Opened, Proved, Sealed, Seen, Wire
from encchat.wiretap.words import Value, bytes_of, fields_of, tag_of

VERSION = 1
#: Bytes of one message or one piece of network bytes that are written; the size is always that of all.
MAX_BYTES = 16 * 1024


class JsonFile:
    """A witness that writes lines."""

    def __init__(self, file: WireFile) -> None:
        self._file = file

    def saw(self, seen: Seen) -> None:
        """Write its line."""
        self._file.write(line(seen))

    def close(self) -> None:
        """The file is complete."""
        self._file.close()


def line(seen: Seen) -> bytes:
    """The line for what passed."""
    fields = {"v": VERSION, **_fields(seen)}
    return json.dumps(fields, separators=(",", ":")).encode("ascii") + b"\n"


def _fields(seen: Seen) -> dict[str, Value]:
    head: dict[str, Value] = {"time": seen.time, "connection": seen.wire.number}
    match seen:
        case Began(wire):
            return {"event": "began", **head, **_ends(wire)}
        case Proved():
            return {
                "event": "secure",
                **head,
                "protocol": seen.protocol,
                "fingerprint": clean_line(seen.fingerprint),
                "summary": clean_line(seen.summary),
            }
        case Ended():
            return {"event": "ended", **head, "reason": clean_line(seen.reason)}
        case Opened():
            shown = bytes_of(seen.message, seen.data)
            return {"event": "opened", **head, **_passed(seen, shown), **_said(seen)}
        case Sealed():
            parts: list[Value] = [
                {
                    "part": part.name,
                    "size": part.size,
                    "facts": {
                        name: clean_line(fact, 500) if isinstance(fact, str) else fact
                        for name, fact in part.facts.items()
                    },
                }
                for part in seen.parts
            ]
            return {
                "event": "sealed",
                **head,
                **_passed(seen, seen.data),
                "after": seen.after,
                "parts": parts,
            }


def _ends(wire: Wire) -> dict[str, Value]:
    return {
        "cipher": wire.cipher,
        "side": "client" if wire.client else "server",
        "here": list(wire.here),
        "there": list(wire.there),
    }


def _passed(seen: Opened | Sealed, data: bytes) -> dict[str, Value]:
    return {
        "number": seen.number,
        "way": "out" if seen.out else "in",
        "size": len(data),
        "bytes": data[:MAX_BYTES].hex(),
    }


def _said(seen: Opened) -> dict[str, Value]:
    if seen.message is not None:
        return {"message": tag_of(seen.message), "fields": fields_of(seen.message)}
    if seen.trouble:
        return {"message": None, "trouble": clean_line(seen.trouble, 500)}
    return {"message": "line", "fields": {"text": clean_line(seen.data.decode("utf-8", "replace"))}}
