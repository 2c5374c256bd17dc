"""What an admin asks of the whole server, by a message without a room: done once, however often it comes.

Such an order becomes no entry of a room, so that the directory remembers it, for ever, by the admin's key and
the msgid: a ban that comes again after it was lifted, or a word that comes again after the connection was
lost, is only answered as it was. It is noted once it is done; where the server is killed right before that,
it is done again when it comes again.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from encchat import messages as m
from encchat.core.accounts import operator, people
from encchat.core.accounts.operator import Actor, AdminStays
from encchat.core.directory import Order
from encchat.core.refusals import MsgidReused, NotAnAdmin, NotText
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.chat.session import Session


async def act(session: Session, message: m.Kick | m.Ban | m.Unban) -> None:
    """An admin's kick, ban or unban without a room.

    :raises NotAnAdmin: the peer is none.
    """
    hub = session.hub
    _check_admin(session)

    async def work(actor: Actor) -> None:
        match message:
            case m.Kick():
                if (await people.person(hub, message.name)).admin:
                    raise AdminStays(name=message.name)
                await operator.kick(hub, message.name, actor, message.reason)
            case m.Ban():
                await operator.ban(hub, message.name, actor, message.seconds, message.reason)
            case m.Unban():
                await operator.unban(hub, message.name, actor)

    await _once(session, message, work)


async def announce(session: Session, message: m.Send) -> None:
    """An admin's word to everybody: a message without a room.

    :raises NotAnAdmin: the peer is none.
    :raises NotText: it is no text.
    """
    session.take_act()
    _check_admin(session)
    try:
        text = message.body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotText() from None
    if message.kind != "text" or not text.strip():
        raise NotText()

    async def work(actor: Actor) -> None:
        operator.announce(session.hub, text, actor)

    await _once(session, message, work)


async def _once(
    session: Session,
    message: m.Kick | m.Ban | m.Unban | m.Send,
    work: Callable[[Actor], Coroutine[Any, Any, None]],
) -> None:
    hub, key = session.hub, session.identity.fingerprint
    digest = sha256(encode(replace(message, id=0))).digest()
    async with hub.ordering:
        order = await hub.directory.order(key, message.msgid)
        if order is None:
            order = Order(digest, hub.milliseconds())
            await work(Actor(session.name.shown, key))
            await hub.directory.put_order(key, message.msgid, order)
            await hub.settle_notes()
        elif order.digest != digest:
            raise MsgidReused()
    session.answer(m.Sent(message.id, 0, order.time))


def _check_admin(session: Session) -> None:
    if not session.person.admin:
        raise NotAnAdmin()
