"""Writes the generated parts of the pages in docs/: what stands between ``<!-- begin NAME -->`` and
``<!-- end NAME -->``.

``python docs/generate.py`` writes them anew, ``--check`` only says whether they are stale (exit code 1).
The messages, bounds, states and codes come from the code itself, so that the pages cannot drift from it.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from types import ModuleType
from typing import Annotated, Any, get_origin

import msgspec
from msgspec import inspect

import encchat.core
from encchat import errors, messages, wire
from encchat.client.commands.command import Command
from encchat.client.commands.helping import KEYS
from encchat.client.commands.table import GROUPS
from encchat.core import names
from encchat.core.accounts import door, links
from encchat.core.chat import allowances, intake, requests, session, states
from encchat.core.files import counts, keeper
from encchat.core.moderation import rules
from encchat.core.relay import books, devicekeys, keeping
from encchat.core.sealed import formats, rosters
from encchat.messages import CLIENT_MESSAGES, SERVER_MESSAGES, Entry, Position, values

DOCS = Path(__file__).resolve().parent

#: The types that have a name, and the structures that messages are made of, in its order.
ALIASES = tuple(name for name, value in vars(values).items() if get_origin(value) is Annotated)
#: What the messages' class names read on the page.
TAGS = {kind.__name__: str(kind.__struct_config__.tag) for kind in (*CLIENT_MESSAGES, *SERVER_MESSAGES)}
STRUCTURES = tuple(
    value
    for value in vars(values).values()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and value.__module__ == values.__name__
)


# ---------------------------------------------------------------------------------------------- messages


def types() -> Iterator[str]:
    """The table of the field types, then the structures."""
    yield from _table(("type", "is"), ((f"`{name}`", _bounds(getattr(messages, name))) for name in ALIASES))
    yield ""
    yield from _table(
        ("structure", "elements", "meaning"),
        ((f"`{kind.__name__}`", _fields(kind), _prose(kind)) for kind in STRUCTURES),
    )


def client_messages() -> Iterator[str]:
    """What a client sends."""
    yield from _messages(CLIENT_MESSAGES)


def server_messages() -> Iterator[str]:
    """What a server sends."""
    yield from _messages(SERVER_MESSAGES)


def _messages(kinds: Sequence[type[msgspec.Struct]]) -> Iterator[str]:
    yield from _table(
        ("tag", "fields", "meaning"),
        ((f"`{kind.__struct_config__.tag}`", _fields(kind), _prose(kind)) for kind in kinds),
    )


def _fields(kind: type[msgspec.Struct]) -> str:
    return "; ".join(
        f"`{field.name}` {_type(kind, field.name)}"
        + ("" if field.required else f" = {_literal(field.default)}")
        for field in msgspec.structs.fields(kind)
    )


def _type(kind: type[msgspec.Struct], field: str) -> str:
    """How a field's annotation reads: an alias or structure by its name, anything else in words."""
    written = kind.__annotations__[field]
    many = re.fullmatch(r"tuple\[(\w+), \.\.\.\]", written)
    if many:
        return f"array of {'bin' if many[1] == 'bytes' else many[1]}"
    maybe = re.fullmatch(r"(\w+) \| None", written)
    if maybe:
        return f"{maybe[1]} or nil"
    if written in ALIASES or hasattr(messages, written):
        return str(written)
    fields = {found.name: found.type for found in msgspec.structs.fields(kind)}
    return _bounds(fields[field])


def _bounds(type_: Any) -> str:
    return _words(inspect.type_info(type_))


def _words(info: Any) -> str:
    match info:
        case inspect.IntType():
            return f"integer, {_number(info.ge)} to {_number(info.le)}"
        case inspect.BoolType():
            return "bool"
        case inspect.StrType():
            return f"str, at most {info.max_length} characters"
        case inspect.BytesType() if info.min_length is None and info.max_length is None:
            return "bin"
        case inspect.BytesType() if info.min_length == info.max_length:
            return f"bin, {info.max_length} bytes"
        case inspect.BytesType():
            return f"bin, at most {info.max_length} bytes"
        case inspect.StructType():
            return f"`{info.cls.__name__}`"
        case inspect.VarTupleType():
            return f"array of {info.min_length or 0} to {info.max_length} of: {_words(info.item_type)}"
        case _:
            raise TypeError(f"there are no words for {info!r} yet: add them in docs/generate.py")


def _number(value: int) -> str:
    power = (value + 1).bit_length() - 1
    return f"2^{power}-1" if value > 2**16 and value + 1 == 2**power else f"{value}"


def _literal(value: Any) -> str:
    if value is None:
        return "nil"
    if value == messages.GENESIS:
        return "32 zero bytes"
    if isinstance(value, bool):
        return str(value).lower()
    return {"": '""', (): "[]"}.get(value, str(value))


def _prose(kind: type) -> str:
    text = " ".join((kind.__doc__ or "").split()).replace("``", "`").replace("|", "\\|")
    return re.sub(r"`(\w+)`", lambda found: f"`{TAGS.get(found[1], found[1])}`", text)


# -------------------------------------------------------------------------------------- states and limits


def session_states() -> Iterator[str]:
    """The state table of the server's side."""
    for state in states.State:
        legal = [kind for kind in CLIENT_MESSAGES if kind in states.LEGAL[state]]
        allowed = ", ".join(f"`{kind.__struct_config__.tag}`" for kind in legal) or "nothing"
        yield f"- **{state.name.lower()}**: {allowed}"


def limits() -> Iterator[str]:
    """Every bound that a peer can meet."""
    defaults = messages.Limits()
    yield from _table(
        ("what", "bound"),
        (
            ("payload of a frame before admission", f"{messages.MAX_PAYLOAD_BEFORE_ADMISSION} bytes"),
            ("payload of a frame after it", f"{messages.MAX_PAYLOAD} bytes"),
            ("body of an entry", f"{messages.MAX_BODY} bytes"),
            ("entries in one `page`", f"{messages.MAX_PAGE}, and about {requests.PAGE_BYTES} bytes"),
            ("name, and room name behind its sign", f"1 to {names.MAX_NAME} characters"),
            ("`send` and `topic`", f"{defaults.rate} a second, {defaults.burst} at once (`Limits`)"),
            (
                "acts of moderation, `link` and `unlink`, `create`, rosters, `publishkeys`",
                f"{allowances.ACT_RATE} a second, {allowances.ACT_BURST} at once",
            ),
            ("roles, bans, mutes, invitations of a room", f"{rules.MAX_LISTED} each"),
            ("keys of a name", f"{door.MAX_KEYS}"),
            (
                "members, and admins among them, of a sealed room",
                f"{formats.MAX_MEMBERS}, {formats.MAX_ADMINS}",
            ),
            (
                "devices of a name that take part in sealed rooms",
                f"{books.MAX_DEVICES}, whose certificates have {books.MAX_CERTIFICATES} bytes at most",
            ),
            ("one-time keys of a device", f"{keeping.MAX_ONE_TIME}"),
            (
                "claims of one name from one device",
                f"one in {devicekeys.CLAIM_EVERY:g} s, {devicekeys.CLAIM_BURST} at once",
            ),
            (
                "letters that wait for a device",
                f"{keeping.MAX_LETTERS} and {keeping.MAX_MAIL} bytes, for "
                f"{keeping.MAIL_LIFETIME // 86_400_000} days; nobody may have more there than stays free",
            ),
            (
                "requests about keys and mail",
                f"{allowances.KEY_RATE} a second, {allowances.KEY_BURST} at once; "
                f"{devicekeys.PER_REQUEST} letters or claimed devices, "
                f"and {allowances.REQUEST_BYTES} bytes, cost as much as one",
            ),
            (
                "a code of `link`",
                f"{links.LIFETIME // 60_000} minutes",
            ),
            (
                "bytes of files, both ways",
                f"{allowances.FILE_RATE * allowances.REQUEST_BYTES} a second, "
                f"{allowances.FILE_BURST * allowances.REQUEST_BYTES} at once",
            ),
            ("bytes in one `chunk` or `piece`", f"{messages.MAX_PIECE}"),
            ("uploads of a name that are not finished", f"{counts.MAX_OPEN}"),
            ("an upload to which nothing is added", f"{keeper.ABANDONED / 3600:g} h"),
            ("other requests", f"{allowances.REQUEST_RATE} a second, {allowances.REQUEST_BURST} at once"),
            (
                "requests that wait behind another",
                f"{intake.MAX_WAITING}; past that the server stops reading",
            ),
            ("from the handshake to `hello`", f"{session.HELLO_DEADLINE:g} s"),
            ("silence until the server sends `ping`", f"{session.PING_AFTER:g} s"),
            ("silence until it closes", f"{session.GONE_AFTER:g} s"),
        ),
    )


# ------------------------------------------------------------------------------------------------- codes


def codes() -> Iterator[str]:
    """The codes of `refused` and `error`, from the errors that the core and the wire raise."""
    spoken = [*_errors_in(errors), *_errors_in(wire), *_errors_in(rosters)]
    for module in pkgutil.iter_modules(encchat.core.__path__, "encchat.core."):
        spoken += _errors_in(importlib.import_module(module.name))
    sentences: dict[str, list[str]] = {}
    for kind in spoken:
        sentence = re.sub(r"\{(\w+)[^}]*\}", r"*\1*", _prose(kind))
        if issubclass(kind, errors.PeerError | errors.RefusedError | errors.StorageError):
            sentences.setdefault(kind.code, []).append(sentence)
    sentences.pop(errors.RefusedError.code)  # only ever raised as one of its subclasses
    yield from _table(
        ("code", "says"),
        ((f"`{code}`", " / ".join(dict.fromkeys(said))) for code, said in sorted(sentences.items())),
    )


def _errors_in(module: ModuleType) -> list[type[errors.EncchatError]]:
    return [
        kind
        for kind in vars(module).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.EncchatError)
        and kind.__module__ == module.__name__
    ]


# ------------------------------------------------------------------------------------------------- chain


def chain() -> Iterator[str]:
    """Two entries, their frames, and the chain after each."""
    position = Position()
    yield "```text"
    yield f"chain(0) = {position.chain.hex()}"
    for entry in (
        Entry("+lobby", 1, 1_767_225_600_000, "alice", "laptop", "text", bytes(range(16)), b"hello"),
        Entry("+lobby", 2, 1_767_225_601_500, "bob", "", "me", bytes(range(16, 32)), b"waves"),
    ):
        frame = wire.encode(entry)
        position = wire.advance(position, [frame])
        yield ""
        yield f"entry {entry.seq}: {entry.sender} ({entry.kind}): {entry.body.decode()}"
        yield from (f"  {line}" for line in wrap(frame.hex(" "), 96))
        yield f"chain({entry.seq}) = {position.chain.hex()}"
    yield "```"


# ---------------------------------------------------------------------------------------------- commands


def commands() -> Iterator[str]:
    """The slash commands by group."""
    for group, found in GROUPS.items():
        yield f"### {group[:1].upper()}{group[1:]}"
        yield ""
        yield from _table(("command", "does"), ((_code(command.usage), _told(command)) for command in found))
        yield ""


def _told(command: Command) -> str:
    words = f"{command.help[:1].upper()}{command.help[1:]}."
    return _escaped(f"{words} {command.detail[:1].upper()}{command.detail[1:]}." if command.detail else words)


def keys() -> Iterator[str]:
    """The keys of the terminal."""
    yield from _table(("key", "does"), ((key, _escaped(what)) for key, what in KEYS.items()))


def _code(text: str) -> str:
    return f"`{_escaped(text)}`"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|")


# ------------------------------------------------------------------------------------------------- pages


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


#: The pages with generated parts, and what makes each part.
PAGES: Mapping[str, Mapping[str, Callable[[], Iterator[str]]]] = {
    "protocol.md": {
        "types": types,
        "client-messages": client_messages,
        "server-messages": server_messages,
        "states": session_states,
        "limits": limits,
        "codes": codes,
        "chain": chain,
    },
    "commands.md": {"commands": commands, "keys": keys},
}


def renewed(text: str, parts: Mapping[str, Callable[[], Iterator[str]]]) -> str:
    """A page's text with its parts written anew.

    :raises ValueError: the page lacks a part's marks.
    """
    for name, make in parts.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        before, found, rest = text.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise ValueError(f"there is no {begin.strip()} ... {end}")
        text = before + begin + "\n".join(make()) + "\n" + end + after
    return text


def stale_pages(write: bool) -> list[str]:
    """The names of the pages that are not as they would be generated; writes them if asked to."""
    stale = []
    for name, parts in PAGES.items():
        page = DOCS / name
        old = page.read_text(encoding="utf-8")
        new = renewed(old, parts)
        if new != old:
            stale.append(name)
            if write:
                page.write_text(new, encoding="utf-8")
    return stale


def main(arguments: Sequence[str]) -> int:
    """Write the pages, or with ``--check`` judge them; return the exit code."""
    check = list(arguments) == ["--check"]
    if arguments and not check:
        print("usage: python docs/generate.py [--check]", file=sys.stderr)
        return 2
    for name in stale_pages(write=not check):
        print(f"docs/{name} is stale: run make docs" if check else f"docs/{name} written", file=sys.stderr)
        if check:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
