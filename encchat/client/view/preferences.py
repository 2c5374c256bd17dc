"""What a person has set with commands: kept in the profile, where there is room for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from encchat.client.view.notify import HOW, WHEN

ON_OFF = ("off", "on")


class Preferences:
    """Settings by name, each one of a few words. ``recall`` and ``keep`` are where they outlive the run;
    what was kept and makes no sense (any more) counts as not set."""

    #: What each setting may be; the first is taken when nothing was set.
    CHOICES: ClassVar[dict[str, tuple[str, ...]]] = {
        "bell": ("mentions", *(word for word in WHEN if word != "mentions")),
        "call": HOW,
        "numbers": ON_OFF,
    }

    def __init__(
        self,
        recall: Callable[[str], str | None] = lambda name: None,
        keep: Callable[[str, str], None] = lambda name, value: None,
    ) -> None:
        self._keep = keep
        self._values: dict[str, str] = {}
        for name, choices in self.CHOICES.items():
            value = recall(name)
            self._values[name] = value if value in choices else choices[0]

    def __getitem__(self, name: str) -> str:
        return self._values[name]

    def __setitem__(self, name: str, value: str) -> None:
        assert value in self.CHOICES[name], "what a person typed is checked before"
        self._values[name] = value
        self._keep(name, value)
