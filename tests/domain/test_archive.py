"""Which duplicates may be archived (R5)."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mentor_pipeline.domain.archive import archive_plan, not_taken_back, told_by_log
from mentor_pipeline.domain.findings import Conflict, conflict_rows
from mentor_pipeline.domain.matching import choose_contacts
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, contact, mentor, program, row, signup, together

PROGRAM = program()
NO_CONFLICTS = conflict_rows(YEAR, [])
MASS_MAIL = {"primary_email": "ada@uga.edu", "primary_phone": None, "address_line_1": None}


def match(contact_id: int = 9, mn_id: str = "0042", **changes: Any) -> pl.DataFrame:
    values = {"role": "loser", "method": "phone", "matched_on": ["personal_email", "phone"], "same_person": True}
    return row("contact_matches", year=YEAR, mn_id=mn_id, contact_id=contact_id, **{**values, **changes})


def link(mn_id: str = "0042", contact_id: int | None = 7, status: str = "linked") -> pl.DataFrame:
    return row("contact_links", year=YEAR, mn_id=mn_id, gb_contact_id=contact_id, gb_match_status=status)


def plan(
    matches: pl.DataFrame,
    contacts: pl.DataFrame,
    *,
    links: pl.DataFrame | None = None,
    mentors: pl.DataFrame | None = None,
    conflicts: pl.DataFrame = NO_CONFLICTS,
) -> list[dict[str, Any]]:
    return archive_plan(
        matches,
        link() if links is None else links,
        contacts,
        mentor("0042") if mentors is None else mentors,
        conflicts,
        PROGRAM,
    ).to_dicts()


def one(*args: Any, **more: Any) -> dict[str, Any]:
    (found,) = plan(*args, **more)
    return found


def test_a_duplicate_may_be_archived() -> None:
    found = one(match(), together(contact(7), contact(9)))
    assert (found["contact_id"], found["mn_id"], found["winner_contact_id"]) == (9, "0042", 7)
    assert (found["year"], found["action"]) == (YEAR, "archive")
    assert "personal e-mail and phone in common" in found["reason"]
    assert found["signals"] == ["same personal e-mail", "same phone"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"external_id": "MN042", "external_mn_id": "42"}, "carries mentor 0042's id (MN042)"),
        ({"external_id": "0043", "external_mn_id": "43"}, "carries mentor 0043's id"),
        ({"total_contributions": Decimal("25.00")}, "contributions of $25.00"),
        ({"recurring_contributions": Decimal(5)}, "a recurring plan of $5.00"),
        ({"last_donation_amount": Decimal(5)}, "a donation of $5.00"),
    ],
)
def test_what_speaks_against_it_makes_it_a_review(changes: dict[str, Any], says: str) -> None:
    mentors = together(mentor("0042"), mentor("0043"))
    found = one(match(), contact(9, **changes), mentors=mentors)
    assert found["action"] == "review"
    assert says in found["reason"]


def test_an_id_of_an_earlier_year_reserves_nothing_of_ours() -> None:
    old = contact(9, external_id="0777", external_mn_id="777", total_contributions=Decimal(0))
    assert one(match(), old)["action"] == "archive"
    placeholder = mentor("999042", is_placeholder=True)
    carries = contact(9, external_id="999042", external_mn_id="999042")
    assert one(match(), carries, mentors=together(mentor("0042"), placeholder))["action"] == "archive"


def test_evidence_that_is_not_enough() -> None:
    found = one(match(same_person=False), contact(9))
    assert found["action"] == "review"
    assert "not surely the same person" in found["signals"]


def test_a_mentor_without_a_settled_contact_has_no_duplicates_to_archive() -> None:
    for status in ("conflict", "stale", "shared"):
        found = one(match(), contact(9), links=link(status=status))
        assert (found["action"], found["winner_contact_id"]) == ("review", None)
    assert one(match(), contact(9), links=link(contact_id=None, status="new"))["action"] == "review"


def test_nobodys_contact_is_archived() -> None:
    for status in ("linked", "conflict", "stale"):
        found = one(match(), contact(9), links=together(link(), link("0043", 9, status)))
        assert found["action"] == "review"
        assert "mentor 0043's contact" in found["reason"]


def test_a_duplicate_of_two_mentors_is_listed_once_for_review() -> None:
    found = one(together(match(), match(mn_id="0043")), contact(9), links=together(link(), link("0043", 8)))
    assert found["action"] == "review"
    assert "0042 and 0043" in found["reason"]


@pytest.mark.parametrize(
    ("a", "b", "kind", "action"),
    [
        (9, 7, "contact_selection", "review"),
        (7, "9", "contact_selection", "review"),
        (7, "release 9", "external_id_collision", "review"),
        (7, 8, "contact_selection", "archive"),
        ("9", "+17065550142", "phone_mismatch", "archive"),
    ],
)
def test_a_pending_conflict_about_it(a: object, b: object, kind: str, action: str) -> None:
    conflict = Conflict("0043", kind, {"value": a, "source": "x"}, {"value": b, "source": "x"}, "contact_matches")
    conflicts = conflict_rows(YEAR, [conflict])
    assert one(match(), contact(9), conflicts=conflicts)["action"] == action
    for status, expected in (("pending", action), ("resolved", "archive"), ("obsolete", "archive")):
        stored = conflicts.with_columns(status=pl.lit(status))
        assert one(match(), contact(9), conflicts=stored)["action"] == expected


def test_contacts_that_are_gone_need_no_plan() -> None:
    assert plan(match(), contact(9, archived_at=NOW)) == []
    assert plan(match(), contact(9, missing_since=NOW)) == []


def test_winners_and_other_peoples_contacts_are_in_no_plan() -> None:
    assert plan(match(role="winner"), contact(9)) == []
    assert plan(match(role="rejected", same_person=False), contact(9)) == []


def test_a_mass_mail_contact_is_planned_under_the_same_conditions() -> None:
    by_school = {"matched_on": ["uga_email"]}
    found = one(match(**by_school), contact(9, **MASS_MAIL))
    assert found["action"] == "archive"
    assert "mass-mail contact" in found["signals"]
    nameless = one(match(role="rejected", same_person=False, **by_school), contact(9, **MASS_MAIL))
    assert nameless["action"] == "review"
    assert one(match(**by_school), contact(9, **MASS_MAIL), links=link(status="conflict"))["action"] == "review"
    with_phone = contact(9, **{**MASS_MAIL, "primary_phone": "+17065550142"})
    assert plan(match(role="rejected", same_person=False, **by_school), with_phone) == []


# -- what the log says -----------------------------------------------------------------------------------------------


def log(*told: str, contact_id: int = 9) -> pl.DataFrame:
    """Rows such as `archive done`, a minute apart."""
    return together(
        *(
            row(
                "contact_archive_log", id=f"{number:02}", contact_id=contact_id, operation=words.split()[0],
                state=words.split()[1], external_id="0042", at=NOW + timedelta(minutes=number),
            )
            for number, words in enumerate(told)
        )
    )  # fmt: skip


@pytest.mark.parametrize(
    ("told", "is_ours"),
    [
        (["archive started"], False),
        (["archive started", "archive failed"], False),
        (["archive started", "archive already"], False),
        (["archive started", "archive done"], True),
        (["archive done", "archive already"], True),
        (["archive done", "restore started"], True),
        (["archive done", "restore failed"], True),
        (["archive done", "restore done"], False),
        (["archive done", "restore already"], False),
        (["archive done", "restore done", "archive done"], True),
        (["archive done", "release done", "unrelease done"], True),
        (["release done"], False),
    ],
)
def test_what_may_be_taken_back(told: list[str], *, is_ours: bool) -> None:
    found = not_taken_back(log(*told), "archive", "restore")
    assert found["contact_id"].to_list() == ([9] if is_ours else [])


@pytest.mark.parametrize(
    ("told", "known", "archived_at", "external_id"),
    [
        (["archive done"], {}, [NOW], []),
        (["archive started"], {}, [], []),
        (["archive failed"], {}, [], []),
        (["archive done", "restore done"], {}, [], []),
        (["restore done"], {"archived_at": NOW}, [None], []),
        (["archive already"], {"archived_at": NOW}, [], []),
        (["release done"], {"external_id": "0042"}, [], [None]),
        (["release done", "unrelease done"], {}, [], ["0042"]),
        (["release done"], {}, [], []),
        (["archive done", "release done"], {"external_id": "0042"}, [NOW], [None]),
        (["archive done"], {"last_seen_at": NOW + timedelta(days=1)}, [], []),
        (["archive done"], {"missing_since": NOW}, [], []),
    ],
)
def test_what_the_log_tells_beyond_what_is_known(
    told: list[str], known: dict[str, Any], archived_at: list[object], external_id: list[object]
) -> None:
    contacts = together(contact(8, last_seen_at=None), contact(9, **{"last_seen_at": NOW - timedelta(days=1), **known}))
    assert told_by_log(log(*told), contacts, "archived_at", None)["archived_at"].to_list() == archived_at
    assert told_by_log(log(*told), contacts, "external_id", None)["external_id"].to_list() == external_id
    since = NOW + timedelta(days=1)
    assert told_by_log(log(*told), contacts, "archived_at", since).is_empty()


_PHONES = st.sampled_from([None, "+17065550142", "+17065550143"])
_MAILS = st.sampled_from(["ada@example.com", "ada@uga.edu", "ben@example.com"])


@st.composite
def _people(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    names = {"first_name": st.sampled_from(["Ada", "Ben"]), "last_name": st.just("Elm")}
    signups = [
        signup(
            f"000{number}",
            phone=draw(_PHONES),
            personal_email=draw(_MAILS),
            uga_email=None,
            **{name: draw(value) for name, value in names.items()},
        )
        for number in range(1, draw(st.integers(1, 3)) + 1)
    ]
    contacts = [
        contact(
            number,
            primary_phone=draw(_PHONES),
            primary_email=draw(_MAILS),
            external_id=(held := draw(st.sampled_from([None, "0001", "MN0002", "77"]))),
            external_mn_id={None: None, "0001": "1", "MN0002": "2", "77": "77"}[held],
            total_contributions=draw(st.sampled_from([Decimal(0), Decimal(0), Decimal(5)])),
            **{name: draw(value) for name, value in names.items()},
        )
        for number in range(1, draw(st.integers(1, 6)) + 1)
    ]
    return together(*signups), together(*contacts)


@settings(max_examples=20, deadline=None)
@given(people=_people())
def test_no_mentors_contact_or_id_is_ever_archived(people: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    signups, contacts = people
    none = TABLES["mentors"].empty()
    previous = none.select("mn_id", "gb_contact_id", "gb_match_method", "phone", "personal_email", "uga_email")
    members = TABLES["raw_gb_campaign_members"].empty().with_columns(mn_id=pl.lit(None, pl.String))
    matches, links = choose_contacts(signups, previous, contacts, members, {}, PROGRAM, NOW)
    assert matches.conflicts is not None
    found = archive_plan(matches.rows, links, contacts, signups, matches.conflicts, PROGRAM)
    assert found["contact_id"].is_unique().all()
    archived = found.filter(action="archive").join(contacts, on="contact_id")
    assert not set(archived["contact_id"]) & set(links["gb_contact_id"].drop_nulls())
    current = {mn_id.lstrip("0") for mn_id in signups["mn_id"]}
    assert not set(archived["external_mn_id"].drop_nulls()) & current
    assert archived.filter(pl.col("total_contributions") > 0).is_empty()
    assert archived["winner_contact_id"].null_count() == 0
    again = archive_plan(
        matches.rows.reverse(), links.reverse(), contacts.reverse(), signups, matches.conflicts, PROGRAM
    )
    assert again.equals(found)
