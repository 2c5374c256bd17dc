"""Classic peers, as the core sees them."""

from __future__ import annotations

from typing import ClassVar

from encchat.core.chat.rooms import Room
from encchat.core.chat.session import Session
from encchat.errors import EncchatError


class GuestSession(Session):
    """A classic peer: admitted by what it showed, in the lobby alone, marked as classic for everyone."""

    classic: ClassVar[bool] = True

    def admit(self) -> None:
        """Come in, under a name made from the key; what is received meanwhile waits for that."""
        self.intake.begin(self._admit())

    async def _admit(self) -> None:
        try:
            name = await self.hub.door.admit_guest(self)
        except EncchatError as error:
            if not self.closed:
                self.hub.note("refuse", "", self.identity.fingerprint, asked="classic", code=error.code)
                self.turn_away(error)
            return
        self.admitted(name, "classic")

    def put_out(self, room: Room, code: str, text: str) -> None:
        """There is only one room for a classic peer: out of it is out."""
        self.dismiss(text)

    def judge_silence(self, now: float) -> None:
        """A classic peer has nothing to answer with; TCP's keep-alive finds out when it is gone."""
