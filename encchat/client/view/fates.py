"""What became of messages that are found again: a search brings them up without what was said of them later.

Pure. A message that was taken back is not shown again, one that was corrected says so. What lies further back
than the caller looks is not known, and a message is then shown as it was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from encchat.client.view.entrylines import content_of, name_key
from encchat.contents import Delete, Edit
from encchat.messages import Entry


def fates(found: Sequence[Entry], later: Iterable[Entry]) -> dict[int, Entry]:
    """By seq, for those of ``found`` of which something became: the entry that took it back, or else the one
    that corrected it last. A correction shares the fate of what it corrects. ``later`` are entries of the
    same room, the newest first."""
    asked: dict[int, list[Entry]] = {}
    for entry in found:
        content = content_of(entry)
        asked.setdefault(content.target if isinstance(content, Edit) else entry.seq, []).append(entry)
    told: dict[int, Entry] = {}
    for act in later if found else ():
        if act.kind not in ("edit", "delete"):
            continue
        content = content_of(act)
        for entry in asked.get(content.target, ()) if isinstance(content, Edit | Delete) else ():
            if act.seq > entry.seq and _may(act, entry):
                before = told.get(entry.seq)
                if before is None or (act.kind == "delete" and before.kind == "edit"):
                    told[entry.seq] = act
    return told


def _may(act: Entry, entry: Entry) -> bool:
    """Whether it can be: who may delete what others said is the server's to judge."""
    return act.kind == "delete" or name_key(act.sender) == name_key(entry.sender)


def merged(*several: Mapping[int, Entry]) -> dict[int, Entry]:
    """What several sources know, the gravest of each."""
    told: dict[int, Entry] = {}
    for one in several:
        for seq, act in one.items():
            before = told.get(seq)
            if before is None or (act.kind == "delete", act.seq) > (before.kind == "delete", before.seq):
                told[seq] = act
    return told
