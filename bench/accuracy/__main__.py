"""Measures how often matching is right: the simulator's worlds against their truth, and FEBRL, a public data set.

    python -m bench.accuracy [--quick] [--json]

Writes bench/results/accuracy.md and .json; with `--quick` (one small world) it only prints. Ends with 1 when a goal is
missed: no wrong link, all conflicts found and none besides, 90 % of the mentors with several candidates decided, 95 %
of the suggestions right.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from bench.accuracy import febrl, worlds
from mentor_pipeline.domain.suggestions import EXPECTED, THRESHOLD

RESULTS: Final = Path(__file__).parent.parent / "results"
SIZES: Final = ((1, 1000, 49_000), (2, 1000, 49_000), (3, 1000, 49_000), (4, 400, 1500))
"""Seed, mentors, contacts."""
QUICK: Final = ((4, 400, 1500),)
PACKAGES: Final = ("splink", "duckdb", "polars", "nicknames", "recordlinkage")


def measure(sizes: tuple[tuple[int, int, int], ...]) -> dict[str, Any]:
    """Everything, as it is written."""
    made = []
    for seed, mentors, contacts in sizes:
        started = time.perf_counter()
        made.append(worlds.score_world(seed, mentors, contacts))
        print(f"world {seed} of {mentors} x {contacts:,}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
    classes = worlds.together(made)
    return {
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "threshold": THRESHOLD,
        "expected": EXPECTED,
        "worlds": [
            {"seed": seed, "mentors": mentors, "contacts": contacts, "score": _told(worlds.total(scores))}
            for (seed, mentors, contacts), scores in zip(sizes, made, strict=True)
        ],
        "all": _told(worlds.total(classes)),
        "classes": worlds.as_json(classes),
        "febrl": [
            {
                **found._asdict(),
                "precision": round(found.precision, 4),
                "recall": round(found.recall, 4),
                "f1": round(found.f1, 4),
            }
            for found in febrl.measure()
        ],
    }


def _told(score: worlds.Score) -> dict[str, Any]:
    shares = {"precision": score.precision, "recall": score.recall, "decided": score.decided}
    counts = worlds.as_json({"": score})[""]
    return {**counts, **{name: share and round(share, 4) for name, share in shares.items()}}


def missed(whole: dict[str, Any]) -> list[str]:
    """The goals that were not reached."""
    goals = {
        "no wrong link": whole["linked_wrong"] == 0 and whole["not_linked"] == 0,
        "all conflicts found, and none besides": whole["conflicts_found"] == whole["conflicts"]
        and not whole["conflicts_besides"],
        "90 % of those with several candidates decided": whole["decided"] >= 0.9,
        "95 % of the suggestions right": (whole["precision"] or 0) >= 0.95,
    }
    return [goal for goal, reached in goals.items() if not reached]


def markdown(measured: dict[str, Any]) -> str:
    """The figures to read."""
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    lines = [
        "# Accuracy of matching",
        "",
        "Written by `make bench-accuracy`; what is measured and what is not is in docs/accuracy.md.",
        "",
        f"{versions}. Suggestions from probability {measured['threshold']:.0%}.",
        "",
        "## Made-up worlds, each synced once",
        "",
        (
            "| seed | mentors | contacts | links right | wrong | missing | conflicts found | besides | holds right "
            "| several candidates | decided | suggestions | right | mentors found |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    everything = [*measured["worlds"], {"seed": "all", "mentors": "", "contacts": "", "score": measured["all"]}]
    for world in everything:
        score = world["score"]
        lines.append(
            f"| {world['seed']} | {world['mentors']} | {world['contacts']} | {score['linked_right']} "
            f"| {score['linked_wrong']} | {score['not_linked']} | {score['conflicts_found']} of {score['conflicts']} "
            f"| {score['conflicts_besides']} | {score['holds_right']} of {score['mentors']} | {score['several']} "
            f"| {_percent(score['decided'])} | {score['suggestions']} | {_percent(score['precision'])} "
            f"| {score['found']} of {score['findable']} |"
        )
    lines += [
        "",
        "## By class, all worlds together",
        "",
        (
            "| class | mentors | links right | wrong | missing | conflicts found | besides | holds right | suggestions "
            "| right | mentors found |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {score['mentors']} | {score['linked_right']} | {score['linked_wrong']} | {score['not_linked']} "
        f"| {score['conflicts_found']} of {score['conflicts']} | {score['conflicts_besides']} "
        f"| {score['holds_right']} of {score['mentors']} | {score['suggestions']} | {score['suggestions_right']} "
        f"| {score['found']} of {score['findable']} |"
        for name, score in measured["classes"].items()
    ]
    lines += [
        "",
        "## FEBRL, through the comparisons of the suggestions",
        "",
        "| data set | records | true pairs | pairs found | right | precision | recall | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {found['name']} | {found['records']} | {found['true_pairs']} | {found['pairs']} | {found['right']} "
        f"| {found['precision']:.4f} | {found['recall']:.4f} | {found['f1']:.4f} |"
        for found in measured["febrl"]
    ]
    return "\n".join(lines) + "\n"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}".replace("%", " %")


def main() -> int:
    """Measure, write, print; 1 when a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one small world; nothing is written")
    parser.add_argument("--json", action="store_true", help="print one document for machines")
    asked = parser.parse_args()
    measured = measure(QUICK if asked.quick else SIZES)
    told = json.dumps(measured, indent=1)
    if not asked.quick:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "accuracy.json").write_text(f"{told}\n", encoding="utf-8")
        (RESULTS / "accuracy.md").write_text(markdown(measured), encoding="utf-8")
    print(told if asked.json else markdown(measured))
    goals = missed(measured["all"])
    for goal in goals:
        print(f"Goal missed: {goal}.", file=sys.stderr)
    return 1 if goals else 0


if __name__ == "__main__":
    sys.exit(main())
