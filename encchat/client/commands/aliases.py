"""Commands under the names that they have in IRC clients and elsewhere, for fingers that know those, and what
to do instead of commands that are none here. They are understood, and told nowhere but in docs/commands.md:
one name is enough for whoever learns."""

from __future__ import annotations

from collections.abc import Mapping

_NO_PASSWORDS = "your name belongs to your key. There is nothing to register, and no password."
_ALL_SETTINGS = "/bell, /numbers and /keep are all that is set."
_AWAY = "who leaves is away, and reads later what was said."
_ROLES = "/op, /deop, /mute, /ban, /access and /topic do what modes do."

#: By the name elsewhere, the name here.
ALIASES: Mapping[str, str] = {
    "action": "me",
    "banlist": "access",
    "beep": "bell",
    "block": "ignore",
    "buffer": "go",
    "bye": "quit",
    "channels": "rooms",
    "close": "part",
    "cls": "clear",
    "commands": "help",
    "del": "delete",
    "dm": "msg",
    "download": "save",
    "emote": "me",
    "exit": "quit",
    "find": "search",
    "grep": "search",
    "h": "help",
    "highlight": "bell",
    "hilight": "bell",
    "j": "join",
    "kb": "ban",
    "kickban": "ban",
    "lastlog": "search",
    "list": "rooms",
    "m": "msg",
    "members": "who",
    "n": "who",
    "names": "who",
    "pm": "msg",
    "q": "msg",
    "query": "msg",
    "redact": "delete",
    "t": "topic",
    "tell": "msg",
    "unblock": "unignore",
    "upload": "file",
    "users": "who",
    "w": "who",
    "wc": "part",
    "whowas": "whois",
    "wi": "whois",
    "wii": "whois",
    "win": "go",
    "window": "go",
}
#: What to do instead of commands that are none here.
INSTEAD: Mapping[str, str] = {
    "alias": _ALL_SETTINGS,
    "auth": _NO_PASSWORDS,
    "away": _AWAY,
    "back": _AWAY,
    "bind": "/help keys tells the keys.",
    "connect": "one client has one server: encchat-client HOST:PORT talks to another one.",
    "ctcp": "/whois NAME tells who that is.",
    "cycle": "/part, then /join +ROOM.",
    "dcc": "/file PATH gives a file to the room, and /save fetches one.",
    "devoice": _ROLES,
    "disconnect": "/quit leaves; without it the client keeps the connection by itself.",
    "exec": "in a pipe, what a command prints is said: COMMAND | encchat-client --room +ROOM",
    "halfop": _ROLES,
    "hop": _ROLES,
    "identify": _NO_PASSWORDS,
    "key": "/help keys tells the keys.",
    "log": "/export FILE writes what was said into a file, and /history shows it.",
    "login": _NO_PASSWORDS,
    "mode": _ROLES,
    "motd": "it is shown when you connect.",
    "nickserv": _NO_PASSWORDS,
    "notice": "/msg NAME TEXT says something to one person.",
    "ns": _NO_PASSWORDS,
    "oper": "whoever runs the server names its admins by their keys (--admin).",
    "ping": "the line at the bottom shows how fast the server answers.",
    "quote": "nothing is sent raw.",
    "raw": "nothing is sent raw.",
    "register": _NO_PASSWORDS,
    "say": "a line without a slash is said; // says one that begins with a slash.",
    "sb": "what was said is in your terminal's own scrollback; /history shows what is older.",
    "script": "docs/library.md shows how to write programs that talk.",
    "scrollback": "what was said is in your terminal's own scrollback; /history shows what is older.",
    "set": _ALL_SETTINGS,
    "version": "encchat-client --version tells yours.",
    "voice": _ROLES,
}
