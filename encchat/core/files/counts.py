"""What is counted of files: the bytes of each name and of all, against their quotas.

Pure bookkeeping, changed in the turn in which it is judged, so that two sessions cannot both have the last of
a quota. A name is charged for a file from its upload's beginning, with the size that was announced; all
together for the bytes that came.
"""

from __future__ import annotations

from collections import Counter

from encchat.core.files.blobs import (
    FileRules,
    FileTooLarge,
    NoFiles,
    QuotaFull,
    SpaceFull,
    TooManyUploads,
    cost,
)

#: Uploads of one name that may be unfinished at once.
MAX_OPEN = 16


class Counts:
    """The counts of one keeper."""

    def __init__(self, rules: FileRules) -> None:
        self.rules = rules
        self.names: Counter[str] = Counter()
        self.open: Counter[str] = Counter()
        self.total = 0
        #: Uploads that are on disk and that nobody has gone on with: their bytes, which are in the total.
        self.strays: dict[str, int] = {}

    def check_size(self, size: int) -> None:
        """Whether a file of this size is taken at all.

        :raises NoFiles: none is.
        :raises FileTooLarge: it is too large.
        """
        if not self.rules.limit:
            raise NoFiles()
        if size > self.rules.limit:
            raise FileTooLarge(size=size, limit=self.rules.limit)

    def check_quota(self, name: str, size: int) -> None:
        """Whether a name may give one more file.

        :raises QuotaFull: it may not.
        """
        if self.names[name] + cost(size) > self.rules.per_name:
            raise QuotaFull(limit=self.rules.per_name)

    def check_space(self, size: int) -> None:
        """Whether there is space for so many bytes more.

        :raises SpaceFull: there is not.
        """
        if self.total + size > self.rules.space:
            raise SpaceFull()

    def begin(self, name: str, size: int) -> None:
        """A name begins an upload.

        :raises RefusedError: it may not; says why.
        """
        if self.open[name] >= MAX_OPEN:
            raise TooManyUploads(limit=MAX_OPEN)
        self.check_quota(name, size)
        self.check_space(cost(size))
        self.names[name] += cost(size)
        self.open[name] += 1

    def end(self, name: str, size: int) -> None:
        """An upload has ended, one way or the other."""
        self.release(name, size)
        _take(self.open, name, 1)

    def release(self, name: str, size: int) -> None:
        """A file is the name's no more."""
        _take(self.names, name, cost(size))


def _take(counter: Counter[str], name: str, count: int) -> None:
    counter[name] -= count
    if counter[name] <= 0:
        del counter[name]
