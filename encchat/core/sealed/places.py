"""How far each sealed room was read: the log's own chain, entry by entry, and the numbers of our own
messages."""

from __future__ import annotations

import msgspec

from encchat.core.sealed.keeper import Keeper
from encchat.errors import PeerError
from encchat.messages import GENESIS

#: Chains that one record holds.
_BLOCK = 32


class OutOfOrder(PeerError):
    """The entry {seq} of {room} does not follow what was read before."""

    code = "out-of-order"


class Place(msgspec.Struct):
    """How far a room was read: the chain after entry ``at`` is the last of ``chains``, which go back to the
    last multiple of 32. ``n`` is that of our own last message that is on its way no more."""

    at: int = 0
    chains: list[bytes] = []
    n: int = 0

    @property
    def chain(self) -> bytes:
        """The log's chain after entry ``at``."""
        return self.chains[-1] if self.chains else GENESIS


class Block(msgspec.Struct):
    """The chain after each of 32 consecutive entries."""

    chains: list[bytes]


class Places:
    """All of them, kept as records of the kinds ``place`` and ``chain``."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        #: The last ``n`` that was taken in each room.
        self._counts: dict[str, int] = {}

    def place(self, room: str) -> Place:
        """How far it was read."""
        return self._keeper.get("place", room, Place) or Place()

    def advance(self, room: str, seq: int, chain: bytes) -> bool:
        """Entry ``seq`` is read, after which the log's chain is ``chain``. False if it was read before.

        :raises OutOfOrder: it is not the next one, or not the same that was read before.
        """
        place = self.place(room)
        if seq <= place.at:
            if self.chain_at(room, seq) != chain:
                raise OutOfOrder(room=room, seq=seq)
            return False
        if seq != place.at + 1:
            raise OutOfOrder(room=room, seq=seq)
        if seq % _BLOCK == 0 and place.chains:
            self._keeper.put("chain", _block_id(room, place.at), Block(place.chains))
            place.chains = []
        place.at = seq
        place.chains.append(chain)
        self._keeper.put("place", room, place)
        return True

    def chain_at(self, room: str, seq: int) -> bytes | None:
        """The chain after entry ``seq``; None for what was not read yet."""
        if seq == 0:
            return GENESIS
        place = self.place(room)
        chains = place.chains
        if seq // _BLOCK != place.at // _BLOCK:
            block = self._keeper.get("chain", _block_id(room, seq), Block)
            chains = block.chains if block is not None else []
        offset = seq - max(1, seq // _BLOCK * _BLOCK)
        return chains[offset] if offset < len(chains) else None

    def count(self, room: str) -> int:
        """The next ``n`` of our own messages. It is kept with the message, until that is ``counted``."""
        self._counts[room] = self.last(room) + 1
        return self._counts[room]

    def last(self, room: str) -> int:
        """The last ``n`` of our own messages that was taken."""
        return max(self._counts.get(room, 0), self.place(room).n)

    def counted(self, room: str, n: int) -> None:
        """A message of ours had this ``n``, and is kept no more."""
        place = self.place(room)
        if n > place.n:
            place.n = n
            self._keeper.put("place", room, place)


def _block_id(room: str, seq: int) -> str:
    return f"{room}/{seq // _BLOCK:012d}"
