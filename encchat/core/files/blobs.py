"""Files as the core sees them: where their bytes are kept, what is recorded of them, and what is refused.

A blob is the bytes of a file, named by their SHA-256. A link says that it was given to a room, by whom, and
until when.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

from encchat.core.refusals import TooManyListed
from encchat.errors import RefusedError

MIB = 1024 * 1024
#: What a file counts as in a quota at least, in bytes: also an empty one takes a record and a place.
LEAST = 64 * 1024
#: Links of one blob at most.
MAX_LINKS = 1000


class NoFiles(RefusedError):
    """This server takes no files."""

    code = "no-files"


class FileTooLarge(RefusedError):
    """The file has {size:,} bytes, where this server takes {limit:,}."""

    code = "too-large"


class QuotaFull(RefusedError):
    """Your files on this server would take more than {limit:,} bytes together. Take some back, or wait until
    they expire."""

    code = "quota-full"


class SpaceFull(RefusedError):
    """This server has no more space for files. Try again later, or ask its operator."""

    code = "no-space"


class TooManyUploads(RefusedError):
    """You have {limit} unfinished uploads. Finish some first."""

    code = "too-many"


class NoUpload(RefusedError):
    """No upload of this file is under way. Begin it again."""

    code = "no-upload"


class WrongOffset(RefusedError):
    """The server has {offset:,} bytes of this file. Go on from there."""

    code = "wrong-offset"


class PastEnd(RefusedError):
    """The file ends at {size:,} bytes."""

    code = "past-end"


class WrongHash(RefusedError):
    """What was sent is not the file that was announced: its hash differs. Send it again."""

    code = "wrong-hash"


class NoSuchFile(RefusedError):
    """{room} has no such file, or not any more."""

    code = "no-such-file"


@dataclass(frozen=True, slots=True)
class FileRules:
    """How files are kept: bytes of one at most (0: none are taken), bytes of all that one name gave and of
    all together, and after how many days they go (0: never)."""

    limit: int = 100 * MIB
    per_name: int = 1000 * MIB
    space: int = 10_000 * MIB
    days: int = 30


class Link(Struct, frozen=True, array_like=True):
    """A blob was given to a room: by the name with this key, when, and until when it is kept for that
    (milliseconds; 0: for ever)."""

    room: str
    by: str
    since: int
    until: int = 0

    def lasts(self, now: int) -> bool:
        """Whether it is kept still."""
        return not self.until or now < self.until


class BlobRecord(Struct, frozen=True, array_like=True):
    """What is durable about a blob besides its bytes."""

    size: int
    created: int
    links: tuple[Link, ...] = ()

    def is_in(self, room: str, now: int) -> bool:
        """Whether it is there for a room."""
        return any(link.room == room and link.lasts(now) for link in self.links)

    def is_open_to(self, room: str, name: str, now: int) -> bool:
        """Whether a name that is in the room has, or had, all of its bytes: what else there is must not be
        told by how an upload goes."""
        return any((link.room == room or link.by == name) and link.lasts(now) for link in self.links)

    def is_of(self, name: str) -> bool:
        """Whether a name gave it."""
        return any(link.by == name for link in self.links)

    def with_links(self, links: Iterable[Link]) -> BlobRecord:
        """With these links, each in the place of an older one of the same room and name.

        :raises TooManyListed: it would have too many.
        """
        found = {(link.room, link.by): link for link in (*self.links, *links)}
        if len(found) > MAX_LINKS:
            raise TooManyListed(what="links of one file", limit=MAX_LINKS)
        return replace(self, links=tuple(found.values()))

    def passed(self, name: str, other: str) -> BlobRecord:
        """With what a name gave as given by another one."""
        return replace(
            self,
            links=tuple(replace(link, by=other) if link.by == name else link for link in self.links),
        )

    def without(self, links: Iterable[Link]) -> BlobRecord:
        """Without these links."""
        gone = set(links)
        return replace(self, links=tuple(link for link in self.links if link not in gone))


def cost(size: int) -> int:
    """What a file of this size counts as in a quota."""
    return max(size, LEAST)
