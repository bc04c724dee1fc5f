"""Contacts that might be a mentor's, for a person to look at (R4.9).

Mentors for whom the rules found nobody are compared with the contacts that share a part of a name, e-mail or phone with
them. How likely two records are one person is worked out by Splink (Fellegi and Sunter's model) on a DuckDB in memory,
with the fixed weights of `COMPARISONS`: nothing is trained, so that equal data gives equal suggestions. Only what is
likelier than `THRESHOLD` is shown, with the evidence in words. Nothing here links anybody; what shares an identifier
with the mentor is a candidate and weighed in `candidates`.
"""

from __future__ import annotations

import logging
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import duckdb
import polars as pl

from mentor_pipeline.domain.candidates import contact_name, rows_of
from mentor_pipeline.domain.names import (
    Name,
    comparable,
    compatible,
    contradicting,
    exactly_same,
    is_title,
    nicknames,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pyarrow as pa
    from splink import SettingsCreator

    from mentor_pipeline.settings import ProgramYear

MOST: Final = 3
"""Suggestions for one mentor."""
THRESHOLD: Final = 0.9
"""Probability below which a contact is not shown."""
EXPECTED: Final = 0.25
"""How many of the mentors without a contact have one all the same: what is expected before anything is compared."""
LONG_ENOUGH: Final = 5
"""Letters from which one slip in a last name or in the first part of an e-mail leaves it recognisable."""
_LINE_DIGITS: Final = 7
"""Digits of a phone without its area code."""
_LAST_DIGITS: Final = 4
_BETWEEN: Final = "\x1f"
"""In no name, e-mail or phone: ASCII's separator of units."""


class Level(NamedTuple):
    """One outcome of a comparison, as SQL over two records `_l` and `_r`; the first that holds counts.

    Attributes:
        told: what it says.
        sql: the condition; `ELSE` for what is left.
        same: how often two records of one person come out so (m).
        others: how often records of two people do (u). Same over others is what the outcome is worth.
        by_frequency: `others` is how frequent that very last name is: to share a rare one is worth more.
    """

    told: str
    sql: str
    same: float
    others: float
    by_frequency: bool = False


NOT_COMPARED: Final = {
    "first_name": "len(given_l) = 0 or len(given_r) = 0",
    "last_name": "last_name_l is null or last_name_r is null",
    "email": "len(emails_l) = 0 or len(emails_r) = 0",
    "phone": "len(phones_l) = 0 or len(phones_r) = 0",
    "external_id": "false",
}
"""When a comparison says nothing for or against: one of the two has no value."""


def _distance(one: str, other: str) -> str:
    """SQL: how many slips two texts are apart; null where their lengths tell that it is more than one."""
    return f"(CASE WHEN abs(len({one}) - len({other})) <= 1 THEN damerau_levenshtein({one}, {other}) END)"


def _one_slip_apart(column: str) -> str:
    """SQL: one letter or digit wrong, missing or too many, or two swapped, between any two values of the lists."""
    distances = f"list_transform({column}_r, lambda theirs: {_distance('ours', 'theirs')})"
    return f"list_min(flatten(list_transform({column}_l, lambda ours: {distances}))) <= 1"


_SWAPPED: Final = "list_contains(given_l, last_name_r) and list_contains(given_r, last_name_l)"

COMPARISONS: Final[Mapping[str, tuple[Level, ...]]] = {
    "first_name": (
        Level("the same, or the preferred name", "list_has_any(given_l, given_r)", 0.8, 0.005),
        Level(
            "a nickname, an initial or the beginning",
            "list_has_any(known_as_l, firsts_r) or list_has_any(firsts_l, known_as_r)",
            0.15,
            0.02,
        ),
        Level("first and last name swapped", _SWAPPED, 0.01, 0.000_01),
        Level("another", "ELSE", 0.04, 0.974_99),
    ),
    "last_name": (
        Level("the same", "last_name_l = last_name_r", 0.88, 0.001, by_frequency=True),
        Level(
            "one is a part of the other (a double name)",
            "list_has_all(last_words_l, last_words_r) or list_has_all(last_words_r, last_words_l)",
            0.05,
            0.002,
        ),
        Level("first and last name swapped", _SWAPPED, 0.01, 0.000_1),
        Level(
            "one slip apart",
            f"least(len(last_name_l), len(last_name_r)) >= {LONG_ENOUGH} "
            f"and {_distance('last_name_l', 'last_name_r')} <= 1",
            0.03,
            0.000_3,
        ),
        Level("another", "ELSE", 0.03, 0.996_6),
    ),
    "email": (
        Level("the same: a generic one (R4.2), or it would be a candidate", "list_has_any(emails_l, emails_r)", 1, 1),
        Level("one slip apart", _one_slip_apart("emails"), 0.1, 0.000_2),
        Level("the same before another domain", "list_has_any(mailboxes_l, mailboxes_r)", 0.1, 0.001),
        Level("another", "ELSE", 0.5, 0.998_8),
    ),
    "phone": (
        Level("the same: a generic one (R4.2), or it would be a candidate", "list_has_any(phones_l, phones_r)", 1, 1),
        Level("one slip apart", _one_slip_apart("phones"), 0.1, 0.000_05),
        Level("another", "ELSE", 0.6, 0.999_95),
    ),
    "external_id": (
        Level("of an earlier year: a past mentor", "has_old_id_l or has_old_id_r", 0.4, 0.1),
        Level("none", "ELSE", 0.6, 0.9),
    ),
}
"""What is compared, and what each outcome is worth. Set by judgement, not learnt; docs/accuracy.md has the reasons. An
identifier that agrees counts for nothing here: such pairs are candidates (R4.2), unless it is generic."""

_RECORD: Final = {
    "unique_id": pl.String(),
    **dict.fromkeys(("given", "firsts", "known_as"), pl.List(pl.String())),
    "last_name": pl.String(),
    **dict.fromkeys(("last_words", "emails", "mailboxes", "phones"), pl.List(pl.String())),
    "has_old_id": pl.Boolean(),
    "blocks": pl.List(pl.String()),
}


class Suggestion(NamedTuple):
    """A contact that might be a mentor's, with the evidence in words, the strongest suggestion of a mentor first."""

    mn_id: str
    contact: dict[str, Any]
    evidence: tuple[str, ...]


def suggest_contacts(
    mentors: pl.DataFrame,
    contacts: pl.LazyFrame,
    is_judged: Callable[[str, dict[str, Any]], bool],
    program: ProgramYear,
) -> list[Suggestion]:
    """The contacts most likely to be each mentor's, up to `MOST`.

    Args:
        mentors: rows of `signups` of the mentors without a contact.
        contacts: `CONTACT_COLUMNS` of the contacts that are still nobody's.
        is_judged: given a mentor and a contact, tells whether a rule or a person has judged the two already.
        program: the year.
    """
    preferred = "prefix" if program.givebutter.preferred_name_field == "prefix" else "preferred_name"
    own_blocks = _mentors_blocks(mentors)
    last_names = _last_names(contacts)
    ids = _sharing_a_part(contacts, last_names, own_blocks["block"])
    named = rows_of(contacts.select("contact_id", "first_name", "last_name", preferred, "emails", "phones"), ids)
    blocks = _blocks(
        named.select(
            "emails",
            "phones",
            id="contact_id",
            last_words=_compared(named["last_name"]).str.split(" "),
            initials=_initials(named["first_name"], named[preferred]),
        ),
        only=own_blocks["block"],
    )
    if blocks.is_empty():
        return []
    own_blocks_of = _by_id(own_blocks)
    mentor_of = {row["mn_id"]: row for row in mentors.iter_rows(named=True)}
    ours = records(
        record(mn_id, _mentor_name(row), _emails_of(row), _phones_of(row), blocks=own_blocks_of.get(mn_id, []))
        for mn_id, row in mentor_of.items()
    )
    near = rows_of(contacts, blocks["id"].unique())
    theirs = _contacts_records(near, blocks, preferred)
    model = settings(prior=EXPECTED / _about(last_names["count"]))
    likely = probabilities([ours, theirs], _frequencies(last_names), model, THRESHOLD)
    shown = near.filter(pl.col("contact_id").is_in(likely["unique_id_r"].cast(pl.Int64).unique().implode()))
    contact_of = {row["contact_id"]: row for row in shown.iter_rows(named=True)}
    found = []
    for mn_id, contact_id, probability in likely.iter_rows():
        contact = contact_of[int(contact_id)]
        evidence = _evidence(mentor_of[mn_id], contact, program)
        if evidence and not is_judged(mn_id, contact):
            found.append((mn_id, -probability, -int(contact_id), evidence))
    found.sort()
    return [
        Suggestion(mn_id, contact_of[-contact_id], (*evidence, _in_words(-probability)))
        for _, own in groupby(found, key=lambda one: one[0])
        for mn_id, probability, contact_id, evidence in islice(own, MOST)
    ]


# -- who is compared with whom -----------------------------------------------------------------------------------------


def _last_names(contacts: pl.LazyFrame) -> pl.DataFrame:
    """last_name (as given, null for none), compared (null when nothing is left of it), count: each last name once."""
    names = contacts.group_by("last_name").agg(count=pl.len()).collect(engine="streaming").sort("last_name")
    return names.with_columns(_compared(names["last_name"]).alias("compared"))


def _sharing_a_part(contacts: pl.LazyFrame, last_names: pl.DataFrame, blocks: pl.Series) -> pl.Series:
    """Ids of the contacts that can be in one of these blocks at all, by what a block is made of and one column has.

    Args:
        contacts: as `suggest_contacts` is given them; gone through a column or two at a time.
        last_names: theirs, as `_last_names` gives them.
        blocks: blocks of the mentors.
    """
    parts = blocks.str.split(" ")
    kind, part = parts.list.first(), parts.list.get(1)

    def sharing(name: str, of: pl.LazyFrame, value: pl.Expr) -> pl.LazyFrame:
        wanted = part.filter(kind == name).unique().to_frame("part").lazy()
        return of.select("contact_id", part=value).join(wanted, on="part", how="semi").select("contact_id")

    words = part.filter(kind == "name").unique().to_frame("words")
    own_names = (
        last_names.select("last_name", words=pl.col("compared").str.split(" "))
        .explode("words")
        .join(words, on="words", how="semi")
        .select("last_name")
        .unique()
    )
    emails = contacts.select("contact_id", email=pl.col("emails")).explode("email")
    phones = contacts.select("contact_id", phone=pl.col("phones")).explode("phone")
    phone = pl.col("phone")
    ids = pl.collect_all(
        [
            contacts.select("contact_id", "last_name")
            .join(own_names.lazy(), on="last_name", how="semi")
            .select("contact_id"),
            sharing("mailbox", emails, _mailboxes(pl.col("email"))),
            sharing("line", phones, phone.str.tail(_LINE_DIGITS)),
            sharing("exchange", phones, phone.str.head(-_LAST_DIGITS)),
        ],
        engine="streaming",
    )
    return pl.concat(ids).to_series().unique()


def _blocks(people: pl.DataFrame, *, only: pl.Series | None = None) -> pl.DataFrame:
    """Id and block, one row for each block that a person is in; only people of one block are compared.

    The blocks are: a word of the last name with the first letter of a first name; what stands before an e-mail's @; a
    phone without its area code; a phone without its last digits with the first letters of the name.

    Args:
        people: id, last_words, initials (first letters of the first names; "" when there is none), emails, phones.
        only: the blocks that somebody else is in; all when None.
    """
    phones = people.explode("phones").drop_nulls("phones").explode("initials")
    initials = pl.concat_str("initials", pl.col("last_words").list.first().str.head(1))
    parts = [
        people.explode("last_words").explode("initials").select("id", block=_block("name", "last_words", "initials")),
        people.explode("emails").select("id", block=_block("mailbox", _mailboxes(pl.col("emails")))),
        phones.select("id", block=_block("line", pl.col("phones").str.tail(_LINE_DIGITS))),
        phones.select("id", block=_block("exchange", pl.col("phones").str.head(-_LAST_DIGITS), initials)),
    ]
    if only is not None:
        wanted = only.unique().to_frame("block")
        parts = [part.join(wanted, on="block", how="semi") for part in parts]
    return pl.concat(parts).drop_nulls().unique().sort("id", "block")


def _mentors_blocks(mentors: pl.DataFrame) -> pl.DataFrame:
    """`_blocks` of the mentors: also of each nickname, of a contact without a first name, and of swapped names."""
    compared = mentors.select(
        "phone",
        id="mn_id",
        emails=pl.concat_list("personal_email", "uga_email"),
        phones=pl.concat_list("phone"),
        first=_compared(mentors["first_name"]),
        last=_compared(mentors["last_name"]),
        preferred=_compared(mentors["preferred_name"]),
    )
    known_as = [
        sorted({"", *(name[0] for first in row if first for name in (first, *nicknames(first.split()[0])))})
        for row in compared.select("first", "preferred").iter_rows()
    ]
    as_given = compared.select(
        "id",
        "emails",
        "phones",
        last_words=pl.col("last").str.split(" "),
        initials=_lists(known_as),
    )
    swapped = compared.select(
        "id",
        emails=pl.lit(None, pl.List(pl.String)),
        phones=pl.lit(None, pl.List(pl.String)),
        last_words=pl.col("first").str.split(" "),
        initials=pl.concat_list(pl.col("last").str.head(1)),
    )
    return _blocks(pl.concat([as_given, swapped]))


def _compared(names: pl.Series) -> pl.Series:
    """Names as they are compared; nothing left is null."""
    known = names.drop_nulls().unique()
    return names.replace_strict(
        known, pl.Series([comparable(name) or None for name in known], dtype=pl.String), default=None
    )


def _initials(*names: pl.Series) -> pl.Series:
    """The first letters of these names; "" when there is none."""
    letters = pl.concat_str([_compared(name).str.head(1) for name in names], ignore_nulls=True)
    none = pl.concat_list(pl.lit(""))
    return pl.select(pl.when(letters == "").then(none).otherwise(letters.str.split(""))).to_series()


def _block(kind: str, *parts: pl.Expr | str) -> pl.Expr:
    """The name of a block; null when a part is missing."""
    return pl.concat_str(pl.lit(kind), *parts, separator=" ")


def _mailboxes(email: pl.Expr) -> pl.Expr:
    """`mailbox` of a column; null when it is too short to tell people apart."""
    found = email.str.extract(r"^([^@+]*)")
    return pl.when(found.str.len_chars() >= LONG_ENOUGH).then(found)


def _by_id(blocks: pl.DataFrame) -> dict[Any, list[str]]:
    return dict(blocks.group_by("id").agg("block").iter_rows())


# -- the model ---------------------------------------------------------------------------------------------------------


def record(
    unique_id: str,
    name: Name,
    emails: Iterable[str],
    phones: Iterable[str],
    *,
    has_old_id: bool = False,
    blocks: Sequence[str] = (),
) -> dict[str, Any]:
    """One person as the model compares them."""
    preferred = None if is_title(name.preferred) else name.preferred
    given = sorted({comparable(name.first), comparable(preferred)} - {""})
    firsts = sorted({words.split()[0] for words in given})
    last_name = comparable(name.last)
    emails = sorted(set(_telling(emails)))
    return {
        "unique_id": unique_id,
        "given": given,
        "firsts": firsts,
        "known_as": sorted({other for first in firsts for other in (first, first[0], *nicknames(first))}),
        "last_name": last_name or None,
        "last_words": last_name.split(),
        "emails": emails,
        "mailboxes": [mailbox(email) for email in emails],
        "phones": sorted(set(phones)),
        "has_old_id": has_old_id,
        "blocks": list(blocks),
    }


def _contacts_records(contacts: pl.DataFrame, blocks: pl.DataFrame, preferred: str) -> pa.Table:
    """`records` of the contacts that are in a block: each name is read once, the rest is read a column at a time."""
    near = contacts.join(blocks.group_by("id").agg(blocks="block"), left_on="contact_id", right_on="id").select(
        "contact_id", "first_name", "last_name", "emails", "phones", "external_id", "blocks", preferred=preferred
    )
    names = near.select("first_name", "last_name", "preferred").unique()
    read = [record("", Name(*name), (), ()) for name in names.iter_rows()]
    of_names = names.with_columns(
        _lists([one[part] for one in read]).alias(part) for part in ("given", "firsts", "known_as", "last_words")
    )
    email = pl.element()
    box = _mailboxes(email)
    return (
        near.join(of_names, on=["first_name", "last_name", "preferred"], nulls_equal=True)
        .with_columns(emails=pl.col("emails").list.eval(email.filter(box.is_not_null()).unique().sort()))
        .select(
            "given",
            "firsts",
            "known_as",
            pl.when(pl.col("last_words").list.len() > 0).then(pl.col("last_words").list.join(" ")).alias("last_name"),
            "last_words",
            pl.col("emails").fill_null([]),
            pl.col("emails").list.eval(box).fill_null([]).alias("mailboxes"),
            pl.col("phones").list.eval(pl.element().unique().sort()).fill_null([]),
            "blocks",
            unique_id=pl.col("contact_id").cast(pl.String),
            has_old_id=pl.col("external_id").fill_null("") != "",
        )
        .select(pl.col(name).cast(kind) for name, kind in _RECORD.items())
        .to_arrow()
    )


def records(people: Iterable[dict[str, Any]]) -> pa.Table:
    """What `record` gives as a table."""
    rows = list(people)
    values = {name: [row[name] for row in rows] for name in _RECORD}
    return pl.DataFrame(
        {
            name: _lists(values[name]) if kind == pl.List else pl.Series(values[name], dtype=kind)
            for name, kind in _RECORD.items()
        }
    ).to_arrow()


def _lists(values: Sequence[Sequence[str]]) -> pl.Series:
    """Lists of texts as a column, as one text each: Polars takes them ten times as fast as one after the other."""
    texts = pl.DataFrame({"all": ["".join(f"{one}{_BETWEEN}" for one in some) for some in values]}, {"all": pl.String})
    parts = pl.col("all").str.split(_BETWEEN)
    return texts.select(parts.list.head(parts.list.len() - 1)).to_series()


def settings(
    comparisons: Mapping[str, tuple[Level, ...]] = COMPARISONS, *, prior: float, dedupe: bool = False
) -> SettingsCreator:
    """Splink's settings with the fixed weights.

    Args:
        comparisons: what is compared.
        prior: how likely a mentor and any contact are one person, before anything is compared.
        dedupe: compare the records of one frame with each other, not those of two.
    """
    from splink import SettingsCreator, block_on

    return SettingsCreator(
        link_type="dedupe_only" if dedupe else "link_only",
        comparisons=[_comparison(name, levels) for name, levels in comparisons.items()],
        blocking_rules_to_generate_predictions=[block_on("blocks", arrays_to_explode=["blocks"])],
        probability_two_random_records_match=prior,
        retain_matching_columns=False,
    )


def _comparison(name: str, levels: Sequence[Level]) -> dict[str, Any]:
    return {
        "output_column_name": name,
        "comparison_levels": [
            {"sql_condition": NOT_COMPARED[name], "label_for_charts": "not compared", "is_null_level": True},
            *(
                {
                    "sql_condition": level.sql,
                    "label_for_charts": level.told,
                    "m_probability": level.same,
                    "u_probability": level.others,
                    **(
                        {"tf_adjustment_column": name, "disable_tf_exact_match_detection": True}
                        if level.by_frequency
                        else {}
                    ),
                }
                for level in levels
            ),
        ],
    }


def probabilities(
    tables: Sequence[pa.Table], frequencies: pl.DataFrame, model: SettingsCreator, threshold: float
) -> pl.DataFrame:
    """The pairs that share a block and are likelier than `threshold`.

    Splink works on a DuckDB of its own in memory, says nothing, and reads nothing but what it is given.

    Args:
        tables: as `records` makes them: the two to be linked, or the one whose duplicates are looked for.
        frequencies: last_name, tf_last_name (its share of all records).
        model: as `settings` makes it.
        threshold: the lowest probability that is given.

    Returns:
        unique_id_l (of the first table), unique_id_r, match_probability.
    """
    from splink import DuckDBAPI, Linker

    logging.getLogger("splink").setLevel(logging.ERROR)
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": False}) as connection:
        backend = DuckDBAPI(connection)
        inputs = [
            backend.register(table, dataset_display_name=f"people_{number}") for number, table in enumerate(tables)
        ]
        linker = Linker(inputs, model, log_level=None, validate_settings=False)
        linker.table_management.register_term_frequency_lookup(backend.register(frequencies.to_arrow()), "last_name")
        pairs = linker.inference.predict(threshold_match_probability=threshold, warning_mode="never")
        found: pl.DataFrame = pairs.as_duckdbpyrelation().select("unique_id_l, unique_id_r, match_probability").pl()
        return found


def _frequencies(last_names: pl.DataFrame) -> pl.DataFrame:
    """How frequent each last name is among all contacts."""
    all_of_them = _about(last_names["count"])
    counted = last_names.drop_nulls("compared").group_by(last_name="compared").agg(pl.col("count").sum())
    return counted.select("last_name", tf_last_name=pl.col("count") / all_of_them).sort("last_name")


def _about(counts: pl.Series) -> int:
    """The next power of two to their sum: so that no probability moves because of one contact more or less."""
    return 1 << max(int(counts.sum()) - 1, 0).bit_length()


# -- in words ----------------------------------------------------------------------------------------------------------


def _evidence(mentor: dict[str, Any], contact: dict[str, Any], program: ProgramYear) -> tuple[str, ...]:
    """What speaks for it, in words; nothing when the names contradict by more than a slip in the last name."""
    names = _names_in_words(_mentor_name(mentor), contact_name(contact, program))
    if names is None:
        return ()
    found = [names]
    emails = [
        (one, other)
        for one in _telling(_emails_of(mentor))
        for other in _telling(contact["emails"] or [])
        if one != other
    ]
    found += [f"e-mail {other} is nearly {one}" for one, other in emails if is_one_slip_apart(one, other)]
    found += [
        f"e-mail {other} is {one} at another domain"
        for one, other in emails
        if mailbox(one) == mailbox(other) and not is_one_slip_apart(one, other)
    ]
    found += [
        f"phone {other} is nearly {one}"
        for one in _phones_of(mentor)
        for other in contact["phones"] or []
        if is_one_slip_apart(one, other)
    ]
    if contact["external_id"]:
        found.append(f"external id {contact['external_id']} of an earlier year")
    return tuple(found)


def _names_in_words(one: Name, other: Name) -> str | None:
    if exactly_same(one, other):
        return "the same name"
    if compatible(one, other):
        return "compatible names"
    if not contradicting(one, other):
        return "names that are not complete"
    is_slip = is_one_slip_apart(comparable(one.last), comparable(other.last))
    return "nearly the same name" if is_slip and compatible(one, other._replace(last=one.last)) else None


def mailbox(email: str) -> str:
    """What stands before the @, without what follows a +."""
    return email.partition("@")[0].partition("+")[0]


def _telling(emails: Iterable[str]) -> list[str]:
    """The addresses that are long enough before the @ to tell people apart."""
    return [email for email in emails if len(mailbox(email)) >= LONG_ENOUGH]


def is_one_slip_apart(one: str, other: str) -> bool:
    """True when one letter or digit is wrong, missing or too many, or two neighbours are swapped."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    return one[1:] == other[1:] or one[1:] == other or one == other[1:] or one[:2] + other[2:] == other[1::-1] + one[2:]


def _in_words(probability: float) -> str:
    return "probability over 99 %" if probability >= 0.995 else f"probability {probability:.0%}".replace("%", " %")


def _mentor_name(row: dict[str, Any]) -> Name:
    return Name(row["first_name"], row["last_name"], row["preferred_name"])


def _emails_of(mentor: dict[str, Any]) -> list[str]:
    return [email for email in (mentor["personal_email"], mentor["uga_email"]) if email]


def _phones_of(mentor: dict[str, Any]) -> list[str]:
    return [mentor["phone"]] if mentor["phone"] else []
