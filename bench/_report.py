"""What a run says: the targets with what was reached, and the ratios of two runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Results = dict[str, Any]

#: Microseconds of CPU a delivery at 80,000 a second, of both on the machine where this was planned. Debian
#: has no ergo: so it is their ratio that counts.
ERGO, INSPIRCD = 3.8, 0.95


@dataclass(frozen=True)
class Target:
    """One line of section 12: what is measured, the bound, what was found (None: not measured), and whether
    that is enough (None: no bound was set, it is told beside one that was)."""

    what: str
    bound: str
    found: str | None
    reached: bool | None = False

    @property
    def verdict(self) -> str:
        """Yes or no; nothing where there is nothing to judge."""
        if self.found is None or self.reached is None:
            return ""
        return "yes" if self.reached else "no"


def fanout_of(results: Results, case: str, server: str = "encchat") -> Results | None:
    """One result of fan-out, if it was measured."""
    for one in results.get("fanout", ()):
        if one["case"] == case and one["server"] == server and "failed" not in one:
            return dict(one)
    return None


def data_of(results: Results, name: str) -> Any:
    """What another benchmark gave, if it was run."""
    return results.get("others", {}).get(name, {}).get("data") or None


def all_targets(results: Results) -> Iterator[Target]:
    """Every target, in the order of the design."""
    ours, peer = (fanout_of(results, "200 members, saturated", s) for s in ("encchat", "inspircd"))
    found = None
    if ours is not None:
        found = f"{ours['us_per_delivery']:.2f} µs"
        if peer is not None:
            ratio = ours["us_per_delivery"] / peer["us_per_delivery"]
            found += f", {ratio:.2f} of InspIRCd's {peer['us_per_delivery']:.2f} µs"
    good = ours is not None and peer is not None and ours["us_per_delivery"] <= peer["us_per_delivery"]
    yield Target("CPU a delivery, saturated", "no more than InspIRCd's", found, good)
    ours, peer = (fanout_of(results, "200 members, 80,000/s", s) for s in ("encchat", "inspircd"))
    found, reached = None, False
    if ours is not None:
        found = f"{ours['us_per_delivery']:.2f} µs"
        reached = ours["us_per_delivery"] < ERGO
        if peer is not None:
            ratio = ours["us_per_delivery"] / peer["us_per_delivery"]
            found += f", {ratio:.2f} of InspIRCd's {peer['us_per_delivery']:.2f} µs"
            reached = ratio < ERGO / INSPIRCD
    yield Target(
        "CPU a delivery at 80,000/s",
        f"ergo's: {ERGO} µs when planned, {ERGO / INSPIRCD:.0f} times InspIRCd's",
        found,
        reached,
    )
    found = None if ours is None else f"{ours['p99_ms']:.1f} ms"
    yield Target("latency at 80,000/s, p99", "25 ms", found, ours is not None and ours["p99_ms"] < 25)
    hands = data_of(results, "handshake")
    if hands:
        cpu, best = hands[0]["cpu_ms"], hands[0]["best_ms"]
        yield Target("mutual handshake", "1.2 ms", f"{cpu:.2f} ms, at best {best:.2f} ms", cpu < 1.2)
    else:
        yield Target("mutual handshake", "1.2 ms", None)
    for many in ("1,000", "10,000"):
        idle = data_of(results, f"idle {many}")
        found = f"{idle[0]['kib_each']:.1f} KiB" if idle else None
        good = bool(idle) and idle[0]["kib_each"] < 60
        yield Target(f"an idle connection, of {many}", "60 KiB", found, good)
    rsa = data_of(results, "rsa")
    if rsa and rsa["script"]:
        if "peers" in rsa:
            ratio = rsa["peers"] / rsa["script"]
            text = f"{rsa['peers']:.0f}/s, {ratio:.1f} times the script's {rsa['script']:.0f}/s"
            yield Target("rsa, messages between two peers", "10 times the script", text, ratio >= 10)
        ratio = rsa["encchat"]["steady"] / rsa["script"]
        text = f"{rsa['encchat']['steady']:.0f}/s, {ratio:.1f} times"
        yield Target("rsa, through the service", "(for comparison: see rsa)", text, None)
    else:
        yield Target("rsa, messages between two peers", "10 times the script", None)
    rates = {one["pattern"]: one["entries_per_second"] for one in data_of(results, "append") or ()}
    told = f"{rates['senders']:,}, as the service asks {rates['hub']:,}" if len(rates) == 2 else None
    yield Target(
        "entries stored a second, for 100 senders", "20,000", told, rates.get("senders", 0) >= 20_000
    )
    caught = data_of(results, "catchup")
    rate = max((one.get("entries_per_second", 0) for one in caught), default=0) if caught else 0
    yield Target("catch-up, entries a second", "100,000", f"{rate:,.0f}" if rate else None, rate > 100_000)
    start = data_of(results, "start")
    for what, key, bound in (
        ("--version", "--version", 0.15),
        ("to the prompt, rsa", "rsa: prompt", 0.5),
        ("to the prompt, tls", "tls:trust=pin: prompt", 0.5),
    ):
        wall = sorted(start[key]["wall"]) if start and key in start else None
        middle = wall[len(wall) // 2] if wall else 0.0
        yield Target(what, f"{bound} s", f"{middle:.3f} s" if wall else None, 0 < middle < bound)


def targets(results: Results) -> str:
    """The targets, a line each."""
    return "\n".join(
        f"  {_mark(one)}  {one.what:36} {one.bound:40} {one.found or 'not measured'}"
        for one in all_targets(results)
    )


def _mark(target: Target) -> str:
    return {"yes": "yes", "no": "NO "}.get(target.verdict, " - ")


def numbers(results: Results) -> dict[str, float]:
    """Every number of a run by a name of its own."""
    found: dict[str, float] = {}
    for one in results.get("fanout", ()):
        for key in ("us_per_delivery", "p50_ms", "p99_ms", "p999_ms", "rss_mib"):
            if key in one:
                found[f"fan-out: {one['case']}: {one['server']}: {key}"] = one[key]
    for name, other in results.get("others", {}).items():
        found.update(_flat(name, other.get("data")))
    return found


def compare(first: Results, second: Results) -> str:
    """Both runs' numbers, and the second's as a multiple of the first's."""
    a, b = numbers(first), numbers(second)
    lines = [f"{'':76} {'first':>12} {'second':>12} {'ratio':>7}"]
    for name in a:
        if name in b:
            ratio = f"{b[name] / a[name]:7.2f}" if a[name] else "      -"
            lines.append(f"{name[:76]:76} {a[name]:12,.3f} {b[name]:12,.3f} {ratio}")
    missing = sorted(set(a) ^ set(b))
    if missing:
        lines.append(f"only in one of them: {len(missing)} numbers, such as {missing[0]}")
    return "\n".join(lines)


def _flat(name: str, value: Any) -> Iterator[tuple[str, float]]:
    if isinstance(value, bool):
        return
    if isinstance(value, int | float):
        yield name, float(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{name}: {key}", inner)
    elif isinstance(value, list):
        if value and all(isinstance(one, int | float) for one in value):
            yield f"{name}: median", sorted(float(one) for one in value)[len(value) // 2]
        else:
            for number, inner in enumerate(value):
                word = inner.get("pattern", number) if isinstance(inner, dict) else number
                yield from _flat(f"{name}: {word}", inner)
