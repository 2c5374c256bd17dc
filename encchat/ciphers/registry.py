"""Which ciphers there are, and how a description on the command line becomes one.

Ciphers are found through Twisted's plugin system: any package adds its own with a file in its
``twisted/plugins``. One that is broken hides no other; whoever asks for it is told what is wrong with it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from textwrap import fill
from typing import cast

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.python.failure import Failure

from encchat.ciphers.description import parse_description
from encchat.ciphers.interfaces import Argument, ICipherMaker, IClientCipher, IServerCipher, Place
from encchat.ciphers.own import OWN
from encchat.directories import make_private
from encchat.errors import ConfigError, UsageError
from encchat.text import clean_line

_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}\Z")


class UnknownCipher(UsageError):
    """There is no cipher {name!r}. Found: {found}."""


class DoubledCipher(ConfigError):
    """Several plugins offer a cipher {name!r}: {modules}. Remove all but one of them."""


class BrokenCipher(ConfigError):
    """The cipher {name!r} cannot be used: {why}. Found: {found}."""


class BadArgument(UsageError):
    """The cipher {cipher!r} cannot be used like this: {why}. {usage}"""


class BadPlace(ConfigError):
    """The cipher's directory {directory} cannot be used: {why}."""


@dataclass(slots=True)
class _Catalogue:
    makers: dict[str, ICipherMaker] = field(default_factory=lambda: dict(OWN))
    #: By name, the modules of plugins that claim the same.
    doubled: dict[str, list[str]] = field(default_factory=dict)
    #: The plugins that could not be loaded: where they are, and what is wrong with them.
    broken: dict[Path, str] = field(default_factory=dict)

    def __str__(self) -> str:
        found = ", ".join(sorted(self.makers)) or "none"
        broken = ", ".join(f"{path.name} ({why})" for path, why in self.broken.items())
        return f"{found}; could not be loaded: {broken}" if broken else found


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a cipher's module holds."""

    arguments: tuple[Argument, ...]
    server: Callable[[Place], object]
    client: Callable[[Place], object]


def find_ciphers() -> Mapping[str, ICipherMaker]:
    """The ciphers of all installed plugins, by name; none of them is imported."""
    return _catalogue().makers


def server_cipher(description: str, directory: Path, name: str = "") -> IServerCipher:
    """The server's side of a cipher, not yet prepared.

    :param directory: where it keeps its files; is made, with mode 0700, if it does not exist.
    :param name: the service's name, for certificates and comments.
    :raises UsageError: the description is wrong; says what there is.
    :raises ConfigError: the plugin or the directory cannot be used; says why.
    """
    made = _make(description, directory, name, "server")
    return IServerCipher(made)


def client_cipher(description: str, directory: Path, name: str = "") -> IClientCipher:
    """The client's side of a cipher, not yet prepared; as :func:`server_cipher`."""
    made = _make(description, directory, name, "client")
    return IClientCipher(made)


def help_ciphers() -> str:
    """The text of ``--help-ciphers``: every cipher with its arguments and examples."""
    catalogue = _catalogue()
    blocks = [
        "A cipher is written NAME or NAME:ARGUMENT=VALUE:ARGUMENT=VALUE. Within a value, a ':' or a\n"
        "backslash needs a backslash before it.",
        *(_help(catalogue, name) for name in sorted(catalogue.makers)),
        *(f"{name}\n  offered by several plugins: {', '.join(m)}" for name, m in catalogue.doubled.items()),
        *(f"A plugin could not be loaded: {path}: {why}" for path, why in catalogue.broken.items()),
    ]
    return "\n\n".join(blocks) + "\n"


# ------------------------------------------------------------------------------------------ finding


def _catalogue() -> _Catalogue:
    from twisted.plugin import getPlugins  # slow to import, and needed for ciphers of others only

    catalogue = _Catalogue()
    with _failures_into(catalogue.broken):
        for maker in getPlugins(ICipherMaker):
            _enter(catalogue, maker)
    for name in catalogue.doubled.keys() - OWN.keys():
        del catalogue.makers[name]
    return catalogue


def _enter(catalogue: _Catalogue, maker: ICipherMaker) -> None:
    texts = [getattr(maker, attribute, None) for attribute in ("name", "summary", "module")]
    if not all(isinstance(text, str) and text for text in texts) or not _NAME.match(maker.name):
        why = "it has no name, summary and module that make a cipher"
        catalogue.broken[Path(clean_line(repr(maker), 80))] = why
        return
    known = catalogue.makers.setdefault(maker.name, maker)
    if known.module != maker.module:
        modules = catalogue.doubled.setdefault(maker.name, [known.module])
        if maker.module not in modules:
            modules.append(maker.module)


@contextmanager
def _failures_into(broken: dict[Path, str]) -> Iterator[None]:
    """Note what Twisted logs about plugins that it could not import."""

    def observe(event: LogEvent) -> None:
        failure = event.get("failure")  # twisted.plugin logs in Twisted's old way
        if isinstance(failure, Failure):
            broken[_plugin_of(failure)] = _said(failure.value)

    observer = cast(ILogObserver, observe)
    globalLogPublisher.addObserver(observer)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observer)


def _plugin_of(failure: Failure) -> Path:
    """The file in a ``twisted/plugins`` that could not be imported, as well as can be told."""
    files = [str(frame[1]) for frame in failure.frames]
    if isinstance(failure.value, SyntaxError):  # it has no frame of its own
        files.append(failure.value.filename or "")
    paths = [Path(clean_line(file, 300)) for file in files]
    return next((path for path in paths if path.parts[-3:-1] == ("twisted", "plugins")), Path("a plugin"))


# ------------------------------------------------------------------------------------------- making


def _make(text: str, directory: Path, name: str, side: str) -> object:
    description = parse_description(text)
    maker = OWN.get(description.name) or _maker(_catalogue(), description.name)
    parts = _parts(maker)
    arguments = _checked(maker.name, parts.arguments, description.arguments)
    _make_directory(directory)
    make, interface = {"server": (parts.server, IServerCipher), "client": (parts.client, IClientCipher)}[side]
    made = make(Place(directory, name, arguments))
    if not interface.providedBy(made):
        raise BrokenCipher(
            name=maker.name,
            why=f"{maker.module}.{side}(place) returned no {interface.__name__}",
            found=str(_catalogue()),
        )
    return made


def _maker(catalogue: _Catalogue, name: str) -> ICipherMaker:
    if name in catalogue.doubled:
        raise DoubledCipher(name=name, modules=", ".join(catalogue.doubled[name]))
    if name not in catalogue.makers:
        raise UnknownCipher(name=name, found=str(catalogue))
    return catalogue.makers[name]


def _parts(maker: ICipherMaker) -> _Parts:
    try:
        module = import_module(maker.module)
    except Exception as error:  # whatever a foreign module raises, it cannot be used
        why = f"{maker.module} cannot be imported: {_said(error)}"
        raise BrokenCipher(name=maker.name, why=why, found=str(_catalogue())) from error
    lacks = [name for name in ("ARGUMENTS", "server", "client") if not hasattr(module, name)]
    if lacks:
        why = f"{maker.module} has no {' and no '.join(lacks)}"
        raise BrokenCipher(name=maker.name, why=why, found=str(_catalogue()))
    return _Parts(tuple(module.ARGUMENTS), module.server, module.client)


def _checked(cipher: str, known: tuple[Argument, ...], given: Mapping[str, str]) -> Mapping[str, str]:
    usage = _usage(known)
    arguments = {argument.name: argument.default for argument in known}
    choices = {argument.name: argument.choices for argument in known}
    for name, value in given.items():
        if name not in arguments:
            raise BadArgument(cipher=cipher, why=f"it has no argument {name!r}", usage=usage)
        if choices[name] and value not in choices[name]:
            why = f"{name} cannot be {value!r}"
            raise BadArgument(cipher=cipher, why=why, usage=usage)
        arguments[name] = value
    return arguments


def _usage(known: tuple[Argument, ...]) -> str:
    if not known:
        return "It has no arguments."
    shown = ", ".join(f"{argument.name}={_values(argument)}" for argument in known)
    return f"Its arguments are: {shown}."


def _values(argument: Argument) -> str:
    return "|".join(argument.choices) or "..."


def _make_directory(directory: Path) -> None:
    try:
        make_private(directory)
        status = directory.stat()
    except OSError as error:
        raise BadPlace(directory=str(directory), why=error.strerror or str(error)) from None
    if status.st_uid != os.geteuid():
        raise BadPlace(directory=str(directory), why="it belongs to somebody else")
    if status.st_mode & 0o077:
        why = f"others can read it; run: chmod 700 {directory}"
        raise BadPlace(directory=str(directory), why=why)


# --------------------------------------------------------------------------------------------- help


def _help(catalogue: _Catalogue, name: str) -> str:
    maker = catalogue.makers[name]
    lines = [f"{name}: {clean_line(maker.summary)}"]
    try:
        known = _parts(maker).arguments
    except BrokenCipher as error:
        return "\n".join([*lines, f"  cannot be used: {error.facts['why']}"])
    free = next((argument.name for argument in known if not argument.choices), None)
    examples = [name, *([f"{name}:{free}={free.upper()}"] if free else [])]
    for argument in known:
        default = f" (default: {argument.default})" if argument.default else ""
        text = f"{argument.name}={_values(argument)}  {argument.help}{default}"
        lines.append(fill(text, 100, initial_indent="  ", subsequent_indent="      "))
        others = (choice for choice in argument.choices if choice != argument.default)
        examples.extend(f"{name}:{argument.name}={choice}" for choice in others)
    return "\n".join([*lines, *(f"  --cipher {example}" for example in examples)])


def _said(error: BaseException | None) -> str:
    return clean_line(f"{type(error).__name__}: {error}", 120)
