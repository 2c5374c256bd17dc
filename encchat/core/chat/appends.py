"""The one queue through which entries reach the log: batches them, keeps their order, bounds them.

At most one append is in flight. Whatever arrives meanwhile goes into the next one, so that the slower
the log is, the larger its batches grow. Everything is answered exactly once, in the order it was put.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

from encchat.core.interfaces import Draft, IRoomLog, ITurn, Outcome, Promise, Stored, Unavailable
from encchat.errors import StorageError

#: What an append is answered with: the outcome, or why nothing is known of it.
Answer: TypeAlias = Outcome | StorageError
_Put: TypeAlias = tuple[Draft, Callable[[Answer], None]]

#: Drafts and body bytes in one append at most.
BATCH = 2000
BATCH_BYTES = 1024 * 1024
#: Drafts, or body bytes, that are worth an append of their own, which therefore waits for no more: what a
#: write to a member costs is little for each of so many.
SOON, SOON_BYTES = 128, 64 * 1024
#: Drafts and body bytes that wait, above which no more should be read from the peers.
QUEUE = 10_000
QUEUE_BYTES = 8 * 1024 * 1024


class AppendQueue:
    """``put`` drafts; ``committed`` is called with what each batch stored, after its answers were given.

    What one turn brings becomes one batch. ``pause`` tells for how many seconds the next batch should wait
    for more to come; one of some size does not.
    """

    def __init__(
        self,
        log: IRoomLog,
        turn: ITurn,
        committed: Callable[[Sequence[tuple[Draft, Stored]]], None],
        pause: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._log = log
        self._turn = turn
        self._committed = committed
        self._pause = pause
        self._waiting: list[_Put] = []
        self._bytes = 0
        self._running = False
        #: How many were taken to be appended and how many answered; and who waits until so many are.
        self._taken = self._answered = 0
        self._settling: deque[tuple[int, Promise[None]]] = deque()
        #: Called, once each, when the queue has room again.
        self._relief: list[Callable[[], None]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing waits and no append is in flight."""
        return not self._running

    @property
    def full(self) -> bool:
        """Whether the queue is past its bound, so that no more should be read from the peers."""
        return len(self._waiting) >= QUEUE or self._bytes >= QUEUE_BYTES

    def put(self, draft: Draft, answer: Callable[[Answer], None]) -> bool:
        """Append ``draft``; ``answer`` gets the outcome. Never refuses: heed the result, which is ``full``,
        before reading on."""
        self._waiting.append((draft, answer))
        self._bytes += len(draft.body)
        if not self._running:
            self._running = True
            self._turn.soon(self._start)
        return len(self._waiting) >= QUEUE or self._bytes >= QUEUE_BYTES

    async def settled(self) -> None:
        """Returns once everything that was put before was answered."""
        if self._running:
            done = self._turn.promise()
            self._settling.append((self._taken + len(self._waiting), done))
            await done

    def when_relieved(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once the queue has room again."""
        self._relief.append(callback)

    def _start(self) -> None:
        """Append what waits, now or when it should; to be called only while nothing else would."""
        pause = self._rest()
        if pause:
            self._turn.after(pause, self._go)
        else:
            self._go()

    def _rest(self) -> float:
        enough = len(self._waiting) >= SOON or self._bytes >= SOON_BYTES
        return 0.0 if enough else self._pause()

    def _go(self) -> None:
        self._turn.spawn(self._run(), None)

    async def _run(self) -> None:
        rest = False
        try:
            while self._waiting and not rest:
                await self._append(self._take())
                if not self.full and self._relief:
                    relief, self._relief = self._relief, []
                    for callback in relief:
                        callback()
                rest = bool(self._waiting) and self._rest() > 0
        finally:
            # More waits after a pause only, or a failure that nobody foresaw: the next batch may succeed.
            self._running = bool(self._waiting)
            if self._waiting:
                self._turn.soon(self._start)

    def _take(self) -> list[_Put]:
        waiting = self._waiting
        if len(waiting) <= BATCH and self._bytes <= BATCH_BYTES:
            self._waiting, self._bytes = [], 0
            self._taken += len(waiting)
            return waiting
        count = size = 0
        while count < min(len(waiting), BATCH) and size < BATCH_BYTES:
            size += len(waiting[count][0].body)
            count += 1
        batch, self._waiting = waiting[:count], waiting[count:]
        self._bytes -= size
        self._taken += count
        return batch

    async def _append(self, batch: list[_Put]) -> None:
        drafts = [draft for draft, _ in batch]
        try:
            outcomes: Sequence[Answer] = await self._log.append(drafts)
        except StorageError as error:
            outcomes = [error] * len(batch)
        except Exception:  # a fault of the log's own: reported by whoever runs us, answered here
            for _, answer in batch:
                answer(Unavailable(reason="the log failed"))
            self._settle(len(batch))
            raise
        stored = []
        for (draft, answer), outcome in zip(batch, outcomes, strict=True):
            answer(outcome)
            if isinstance(outcome, Stored) and not outcome.duplicate:
                stored.append((draft, outcome))
        self._committed(stored)
        self._settle(len(batch))

    def _settle(self, answered: int) -> None:
        self._answered += answered
        while self._settling and self._settling[0][0] <= self._answered:
            self._settling.popleft()[1].resolve(None)
