"""How a cipher is written on the command line: ``tls:certs=/etc/encchat:trust=pin``.

The syntax is that of Twisted's endpoint strings without positional arguments: parts are separated by
``:``, a value begins behind the first ``=``, and a backslash takes the meaning from the character that
follows. A value that ``twisted.internet.endpoints.quoteStringArgument`` has quoted is read as it was;
importing that module here would import OpenSSL too, only to add backslashes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from encchat.errors import UsageError


class BadDescription(UsageError):
    """The cipher {text!r} cannot be understood: {why}. Write it like rsa, rsa:classic=no or
    tls:certs=/etc/encchat; a ':' or a backslash within a value needs a backslash before it."""


@dataclass(frozen=True, slots=True)
class Description:
    """A cipher's name and the arguments that were given, as text."""

    name: str
    arguments: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        """The description that :func:`parse_description` reads as this one."""
        pairs = (f":{_quoted(name, '=')}={_quoted(value)}" for name, value in self.arguments.items())
        return _quoted(self.name, "=") + "".join(pairs)


def parse_description(text: str) -> Description:
    """Read a description; whether there is such a cipher, and such an argument, is for the registry.

    :raises BadDescription: it says nothing, says a thing twice, or cannot be read; says which.
    """
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise BadDescription(text=text, why="it has a control character")
    try:
        (name, value), *parts = _parts(text)
        if value is not None:
            raise ValueError(f"it begins with an argument, {name!r}, where the name of a cipher belongs")
        if not name:
            raise ValueError("it has no name")
        arguments: dict[str, str] = {}
        for argument, value in parts:
            if not argument:
                raise ValueError("an argument has no name" if value else "there is nothing behind a ':'")
            if not value:
                raise ValueError(f"the argument {argument!r} has no value; write {argument}=...")
            if argument in arguments:
                raise ValueError(f"the argument {argument!r} is given twice")
            arguments[argument] = value
    except ValueError as error:
        raise BadDescription(text=text, why=str(error)) from None
    return Description(name, arguments)


def _parts(text: str) -> Iterator[tuple[str, str | None]]:
    """What stands between the colons: what is before the first ``=``, and what behind it, if there is one."""
    part: list[str] = []
    name: str | None = None
    characters = iter(text)
    for character in characters:
        if character == "\\":
            escaped = next(characters, "")
            if not escaped:
                raise ValueError("it ends in a backslash")
            part.append(escaped)
        elif character == ":":
            yield _part(name, part)
            name, part = None, []
        elif character == "=" and name is None:
            name, part = "".join(part), []
        else:
            part.append(character)
    yield _part(name, part)


def _part(name: str | None, part: list[str]) -> tuple[str, str | None]:
    text = "".join(part)
    return (text, None) if name is None else (name, text)


def _quoted(text: str, also: str = "") -> str:
    for special in "\\:" + also:
        text = text.replace(special, "\\" + special)
    return text
