"""A message in words: its tag and its fields, as plain as they are, each cut where it gets long.

Bytes that are text are shown as text and others as hexadecimal digits; frames inside a frame (a page of a
log) are opened too. What opens a door, the code that links a device, is blanked, also in the bytes.
"""

from __future__ import annotations

import re
from typing import TypeAlias

import msgspec

from encchat import messages as m
from encchat.errors import PeerError
from encchat.text import clean_line
from encchat.wire import decode_entry

#: Characters of one field, and elements of one list, that are shown.
MAX_TEXT, MAX_ELEMENTS = 2000, 20
#: Digits of a long number that a sentence shows.
DIGITS = 16
#: Fields that are secret while they are good: by message, the field.
SECRETS: dict[type[msgspec.Struct], str] = {m.Hello: "link", m.Linked: "code"}
HIDDEN = "(hidden)"
#: Fields of bytes that are never text.
_BINARY = frozenset({"msgid", "chain", "log", "hash"})

_HEXADECIMAL = re.compile(r"[0-9a-f]{32,}")

Value: TypeAlias = "str | int | float | bool | list[Value] | dict[str, Value] | None"


def tag_of(message: m.Message) -> str:
    """What the message is called on the wire."""
    return str(message.__struct_config__.tag)


def fields_of(message: m.Message) -> dict[str, Value]:
    """The fields, cleaned, bounded, and without what is secret."""
    secret = SECRETS.get(type(message))
    fields = _fields(message)
    if secret is not None and fields[secret]:
        fields[secret] = HIDDEN
    return fields


def bytes_of(message: m.Message | None, data: bytes) -> bytes:
    """The message's bytes, with the secret in them blanked."""
    secret = SECRETS.get(type(message)) if message is not None else None
    word = str(getattr(message, secret)).encode() if secret is not None else b""
    return data.replace(word, b"*" * len(word)) if word else data


def sentence(fields: dict[str, Value]) -> str:
    """The fields in one line: those that are empty are left out."""
    return ", ".join(
        f"{name} {_said(value)}" for name, value in fields.items() if value not in ("", None, [])
    )


def _said(value: Value) -> str:
    match value:
        case str() if len(value) > DIGITS and _HEXADECIMAL.fullmatch(value):
            return f"{value[:DIGITS]}…"
        case dict():
            return "(" + " ".join(f"{name}={_said(part)}" for name, part in value.items()) + ")"
        case list():
            return "[" + "; ".join(map(_said, value)) + "]"
        case bool():
            return "yes" if value else "no"
        case _:
            return str(value)


def _fields(struct: msgspec.Struct) -> dict[str, Value]:
    return {name: _plain(name, getattr(struct, name)) for name in struct.__struct_fields__}


def _plain(name: str, value: object) -> Value:
    match value:
        case msgspec.Struct():
            return _fields(value)
        case tuple() | list():
            shown = [_plain(name, part) for part in value[:MAX_ELEMENTS]]
            return [*shown, f"and {len(value) - MAX_ELEMENTS} more"] if len(value) > MAX_ELEMENTS else shown
        case bytes() if name == "entries":
            return _entry(value)
        case bytes():
            return _octets(name, value)
        case str():
            return clean_line(value, MAX_TEXT)
        case bool() | int() | float() | None:
            return value
        case _:
            return clean_line(repr(value), MAX_TEXT)


def _entry(frame: bytes) -> Value:
    try:
        return _fields(decode_entry(frame))
    except PeerError:
        return _digits(frame)


def _octets(name: str, data: bytes) -> str:
    if name not in _BINARY:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            shown = clean_line(text, MAX_TEXT)
            if shown or not data:
                return shown
    return _digits(data)


def _digits(data: bytes) -> str:
    return data.hex() if len(data) <= 64 else f"{data[:64].hex()}… ({len(data)} bytes)"
