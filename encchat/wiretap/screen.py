"""What passes, for people: in words, opened bytes and sealed bytes below each other.

    → 7 send  id 3, room +lobby, kind text, body hello
          opened     57 bytes  00 00 00 35 96 a4 73 65 6e 64 03 a6 2b 6c 6f 62  ....send...+lob
                               62 79 c4 10 01 93 …                              by.....
    ⇒ 8 network   290 bytes  01 02 8f 3a …
          hrsa1 record  290 bytes  number 0, blocks 1, tag 32, holds_up_to 189

An arrow to the right goes out, one to the left comes in; a single one is above the cipher, a double one
below it. Only ``LINES`` lines of bytes are shown; the sizes are always those of all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TypeAlias

from encchat.text import clean_line
from encchat.wiretap.seen import Began, Ended, Opened, Proved, Sealed, Seen
from encchat.wiretap.words import bytes_of, fields_of, sentence, tag_of

#: Bytes in a line, and lines of bytes.
WIDTH, LINES = 16, 4
#: Characters of a message in words, and parts of one piece of network bytes.
WORDS, PARTS = 300, 12

#: A line to show: pieces of (style, text), as prompt_toolkit takes them. The text is clean.
Line: TypeAlias = list[tuple[str, str]]
#: Where they go.
Show: TypeAlias = Callable[[Sequence[Line]], object]

_OPENED, _SEALED, _NOTE = "ansigreen", "ansimagenta", "bold"
_ANSI = {_OPENED: "32", _SEALED: "35", _NOTE: "1"}


class Screen:
    """A witness that shows lines. ``show`` may be changed at any time."""

    def __init__(self, show: Show) -> None:
        self.show = show

    def saw(self, seen: Seen) -> None:
        """Show it."""
        self.show(list(lines(seen)))

    def close(self) -> None:
        """Nothing is held."""


def lines(seen: Seen) -> Iterator[Line]:
    """What is shown of it."""
    wire = seen.wire
    where = f"[{wire.number}] " if wire.number > 1 else ""
    match seen:
        case Began():
            ends = f"{_address(wire.here)} {'→' if wire.client else '←'} {_address(wire.there)}"
            yield [(_NOTE, f"-- {where}connection: {ends}, cipher {wire.cipher}")]
        case Proved():
            spoken = seen.protocol or "lines of text"
            yield [(_NOTE, clean_line(f"-- {where}secure: {spoken} with {seen.summary}", WORDS))]
        case Ended():
            yield [(_NOTE, clean_line(f"-- {where}connection ended: {seen.reason}", WORDS))]
        case Opened():
            yield [
                (
                    _OPENED,
                    clean_line(f"{'→' if seen.out else '←'} {where}{seen.number} {_words(seen)}", WORDS),
                )
            ]
            yield from _dump("opened", bytes_of(seen.message, seen.data), _OPENED)
        case Sealed():
            yield [(_SEALED, f"{'⇒' if seen.out else '⇐'} {where}{seen.number} on the network")]
            for part in seen.parts[:PARTS]:
                facts = ", ".join(f"{name} {value}" for name, value in part.facts.items())
                yield [
                    (
                        _SEALED,
                        clean_line(f"      {part.name}, {part.size} bytes: {facts}".rstrip(": "), WORDS),
                    )
                ]
            if len(seen.parts) > PARTS:
                yield [(_SEALED, f"      and {len(seen.parts) - PARTS} more parts")]
            yield from _dump("sealed", seen.data, _SEALED)


def _words(seen: Opened) -> str:
    if seen.message is not None:
        return f"{tag_of(seen.message)}  {sentence(fields_of(seen.message))}".rstrip()
    if seen.trouble:
        return f"unreadable: {seen.trouble}"
    return f"line  {seen.data.decode('utf-8', 'replace').rstrip()}"


def _address(end: tuple[str, int]) -> str:
    host, port = end
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _dump(label: str, data: bytes, style: str) -> Iterator[Line]:
    size = f"{label} {len(data):>6} bytes  "
    for start in range(0, min(len(data), WIDTH * LINES), WIDTH):
        row = data[start : start + WIDTH]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in row)
        margin = size if not start else " " * len(size)
        yield [(style, f"      {margin}"), ("", f"{row.hex(' '):<{3 * WIDTH - 1}}  {text}")]
    if len(data) > WIDTH * LINES:
        yield [("", f"      {' ' * len(size)}… {len(data) - WIDTH * LINES} bytes more")]


def on_stderr(environment: Mapping[str, str]) -> Show:
    """Shows on stderr: in colours if that is a terminal and nobody asked for none (no-color.org)."""
    dumb = environment.get("TERM", "dumb") in ("dumb", "")
    plain = bool(environment.get("NO_COLOR")) or dumb or not _is_terminal()

    def show(shown: Sequence[Line]) -> None:
        text = "".join("".join(_piece(*piece, plain=plain) for piece in line) + "\n" for line in shown)
        with suppress(OSError, AttributeError):  # closed, or nobody there to read it
            stream = sys.__stderr__
            stream.write(text)  # type: ignore[union-attr]  # None raises AttributeError
            stream.flush()  # type: ignore[union-attr]

    return show


def _is_terminal() -> bool:
    try:
        return os.isatty(2)
    except OSError:
        return False


def _piece(style: str, text: str, *, plain: bool) -> str:
    code = _ANSI.get(style)
    return text if plain or code is None else f"\x1b[{code}m{text}\x1b[0m"
