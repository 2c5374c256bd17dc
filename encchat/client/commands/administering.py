"""The slash command of the server's admins: who is kept out of the whole server, and what all are told.

An admin is a key that the service was started with (--admin). Whether somebody is one, only the server
decides; these requests are those of moderators, with no room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.client.commands.command import Command
from encchat.client.commands.moderating import reason_of, until_of

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands


def _server(c: Commands, rest: str) -> None:
    what, _, rest = rest.partition(" ")
    if what == "announce" and rest.strip():
        _announce(c, rest.strip())
        return
    word, _, more = rest.strip().partition(" ")
    if what not in ("kick", "ban", "unban") or not word:
        c.teach("server")
    name = c.name(word)
    c.online()
    if what == "kick":
        c.chat.act(lambda id, msgid: m.Kick(id, "", msgid, name, reason_of(more)))
    elif what == "ban":
        seconds, reason = until_of(more.strip())
        c.chat.act(lambda id, msgid: m.Ban(id, "", msgid, name, seconds, reason))
    elif more.strip():
        c.teach("server")
    else:
        c.chat.act(lambda id, msgid: m.Unban(id, "", msgid, name))


def _announce(c: Commands, text: str) -> None:
    c.online()
    c.chat.act(lambda id, msgid: m.Send(id, "", msgid, "text", text.encode()))


COMMANDS = (
    Command(
        "server",
        "kick|ban|unban NAME [10m|2h|1d] [REASON]|announce TEXT",
        "put somebody out of the whole server, keep them out, let them in again, or tell everybody "
        "something; for its admins",
        _server,
        "as in /server ban mallory 2h spam",
    ),
)
