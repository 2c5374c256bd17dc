"""Hypothesis strategies for every message, derived from the types and bounds in ``encchat.messages``.

A new message or field is covered by the tests that use these without a line being changed here.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import msgspec
from hypothesis import strategies as st
from msgspec import inspect

from encchat.messages import CLIENT_MESSAGES, SERVER_MESSAGES

#: What can be written as UTF-8 at all.
TEXT = st.characters(exclude_categories=("Cs",))
#: Longest value drawn where the type sets no bound, or one too large to try often.
LONG = 200


def of(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type as msgspec sees it: a struct of ours, or an annotated field."""
    return _of(inspect.type_info(type_))


def _of(info: inspect.Type) -> st.SearchStrategy[Any]:
    return _MAKERS[type(info)](info)


def _struct(info: inspect.StructType) -> st.SearchStrategy[Any]:
    return st.builds(info.cls, **{field.name: _of(field.type) for field in info.fields})


def _sizes(info: Any) -> dict[str, int]:
    longest = LONG if info.max_length is None else min(info.max_length, LONG)
    return {"min_size": info.min_length or 0, "max_size": longest}


_MAKERS: dict[type[inspect.Type], Callable[[Any], st.SearchStrategy[Any]]] = {
    inspect.IntType: lambda info: st.integers(info.ge, info.le),
    inspect.BoolType: lambda info: st.booleans(),
    inspect.FloatType: lambda info: st.floats(0, 1e6),
    inspect.StrType: lambda info: st.text(TEXT, **_sizes(info)),
    inspect.BytesType: lambda info: st.binary(**_sizes(info)),
    inspect.NoneType: lambda info: st.none(),
    inspect.UnionType: lambda info: st.one_of([_of(kind) for kind in info.types]),
    inspect.VarTupleType: lambda info: st.lists(
        _of(info.item_type), min_size=info.min_length or 0, max_size=min(info.max_length or 8, 8)
    ).map(tuple),
    inspect.StructType: _struct,
}


def messages(types: tuple[type[msgspec.Struct], ...]) -> st.SearchStrategy[Any]:
    """Any message of one of the types."""
    return st.one_of([of(message) for message in types])


client_messages = messages(CLIENT_MESSAGES)
server_messages = messages(SERVER_MESSAGES)


def cuts(data: bytes) -> st.SearchStrategy[list[bytes]]:
    """``data`` in pieces, cut anywhere; some may be empty."""

    def cut(places: list[int]) -> list[bytes]:
        edges = [0, *sorted(places), len(data)]
        return [data[start:end] for start, end in pairwise(edges)]

    return st.lists(st.integers(0, len(data)), max_size=20).map(cut)


#: Anything that MessagePack can say and msgspec can write, nested a little.
packable = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(TEXT, max_size=40)
    | st.binary(max_size=40)
    | st.builds(msgspec.msgpack.Ext, st.integers(-128, 127), st.binary(max_size=20)),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(TEXT, max_size=5) | st.integers(0, 9), inner, max_size=5)
    ),
    max_leaves=20,
)
