"""Commands under the names that they have in IRC clients, for fingers that know those. They are understood,
and told nowhere but in docs/commands.md: one name is enough for whoever learns."""

from __future__ import annotations

from collections.abc import Mapping

#: By the name elsewhere, the name here.
ALIASES: Mapping[str, str] = {
    "action": "me",
    "buffer": "go",
    "bye": "quit",
    "close": "part",
    "exit": "quit",
    "j": "join",
    "lastlog": "search",
    "list": "rooms",
    "m": "msg",
    "n": "who",
    "names": "who",
    "q": "msg",
    "query": "msg",
    "t": "topic",
    "upload": "file",
    "w": "who",
    "wi": "whois",
    "wii": "whois",
    "win": "go",
    "window": "go",
}
#: What to do instead of commands that are none here.
INSTEAD: Mapping[str, str] = {
    "away": " There is none here: who leaves is away.",
    "clear": " C-l clears the screen.",
    "connect": " One client has one server: encchat-client HOST:PORT talks to another one.",
}
