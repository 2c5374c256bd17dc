"""Files in memory, for tests: nothing suspends, and all is gone with the process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256

from zope.interface import implementer

from encchat.core.interfaces import IBlobs, Unavailable


@implementer(IBlobs)
class MemoryBlobs:
    """``IBlobs`` in memory. ``now`` tells seconds from any fixed origin."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._uploads: dict[str, tuple[bytearray, float]] = {}
        self._blobs: dict[bytes, bytes] = {}

    async def held(self, upload: str) -> int:
        """How many bytes there are."""
        return len(self._uploads[upload][0]) if upload in self._uploads else 0

    async def write(self, upload: str, offset: int, data: bytes) -> None:
        """Add to them."""
        held = self._uploads[upload][0] if upload in self._uploads else bytearray()
        if len(held) < offset:
            raise Unavailable(reason="the upload has lost bytes")
        held[offset:] = data
        self._uploads[upload] = (held, self._now())

    async def digest(self, upload: str) -> bytes:
        """The hash of what is held."""
        return sha256(self._uploads[upload][0] if upload in self._uploads else b"").digest()

    async def keep(self, upload: str, blob: bytes) -> None:
        """Make a blob of it."""
        if upload not in self._uploads:
            raise Unavailable(reason="the upload is gone")
        self._blobs[blob] = bytes(self._uploads.pop(upload)[0])

    async def discard(self, upload: str) -> None:
        """Forget it."""
        self._uploads.pop(upload, None)

    async def read(self, blob: bytes, offset: int, size: int) -> bytes | None:
        """Some bytes of a blob."""
        held = self._blobs.get(blob)
        return None if held is None else held[offset : offset + size]

    async def remove(self, blob: bytes) -> None:
        """Forget it."""
        self._blobs.pop(blob, None)

    async def blobs(self, after: bytes = b"", limit: int = 1000) -> Sequence[bytes]:
        """Those that there are."""
        return sorted(blob for blob in self._blobs if blob > after)[:limit]

    async def uploads(self) -> Mapping[str, tuple[int, float]]:
        """Those that there are."""
        now = self._now()
        return {upload: (len(held), now - written) for upload, (held, written) in self._uploads.items()}

    async def close(self) -> None:
        """Nothing is under way."""
