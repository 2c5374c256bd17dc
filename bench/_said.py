"""What people say in the benchmarks: as long and as various as talk is, and the same in each run."""

from __future__ import annotations

from random import Random

#: Different words; how often each is said falls with its rank, as in any language (Zipf's law).
WORDS = 20_000


def bodies(count: int, size: int = 180) -> list[bytes]:
    """So many texts of about ``size`` bytes."""
    random = Random(1)
    letters = "etaoinshrdlcumwfgypbvk"
    vocabulary = ["".join(random.choices(letters, k=random.randint(2, 10))) for _ in range(WORDS)]
    weights = [1 / rank for rank in range(1, WORDS + 1)]
    per_text = max(1, size * 2 // 13)
    words = iter(random.choices(vocabulary, weights, k=count * per_text))
    return [" ".join(next(words) for _ in range(per_text)).encode()[:size] for _ in range(count)]
