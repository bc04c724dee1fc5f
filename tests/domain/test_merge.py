"""R6, row by row: whose value wins where the forms and Givebutter differ."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mentor_pipeline.domain.findings import conflict_rows, problem_rows
from mentor_pipeline.domain.merge import FIELDS, Merged, merge
from mentor_pipeline.tables import TABLES
from tests.builders import NOW, YEAR, contact, program, together

if TYPE_CHECKING:
    from datetime import datetime

PROGRAM = program()
OLD_PHONE, FORM_PHONE, THEIR_PHONE = "+17065550101", "+17065550102", "+17065550103"
EDITS = {
    "mn_id": pl.String(),
    "field_name": pl.String(),
    "value": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "actor": pl.String(),
}
SIGNED_AT = NOW - timedelta(days=60)
LATER = NOW + timedelta(seconds=1)
"""After what was merged already, which is settled at NOW."""
EMAIL_FIELDS = ("personal_email", "uga_email")
JOTFORM_ONLY = ("first_name", "middle_name", "last_name", "gender", "shirt_size")
VALUES = {
    "phone": (OLD_PHONE, FORM_PHONE, THEIR_PHONE),
    "personal_email": ("old@example.com", "form@example.com", "theirs@example.com"),
    "uga_email": ("old@uga.edu", "form@uga.edu", "theirs@uga.edu"),
    "shift_preference": ("Option 1", "Option 2", "Option 3"),
    **dict.fromkeys(("preferred_name", *JOTFORM_ONLY), ("Ada", "Bea", "Cleo")),
}
"""Of every field, a value that both held once, one that the forms may have now, one that Givebutter may have."""


class Side(NamedTuple):
    """A merge of one mentor, as one field has it."""

    value: Any
    merged: Merged

    @property
    def base(self) -> pl.DataFrame:
        return self.merged.base

    @property
    def conflicts(self) -> list[str]:
        return [conflict.conflict_type for conflict in self.merged.conflicts]

    @property
    def problems(self) -> list[str]:
        return [problem.type for problem in self.merged.problems]


def ours(mn_id: str = "0001", contact_id: int | None = 1, **values: Any) -> pl.DataFrame:
    """What the forms say of a mentor; nothing but what is given."""
    row = {
        "mn_id": mn_id,
        "full_name": f"Mentor {mn_id}",
        "gb_contact_id": contact_id,
        "signed_at": SIGNED_AT,
        "from_partner_form": False,
        **dict.fromkeys(FIELDS),
        **values,
    }
    schema = {
        **dict.fromkeys(("mn_id", "full_name", *FIELDS), pl.String()),
        "gb_contact_id": pl.Int64(),
        "signed_at": pl.Datetime("us", "UTC"),
        "from_partner_form": pl.Boolean(),
    }
    return pl.DataFrame([row], schema=schema)


def theirs(contact_id: int = 1, **values: Any) -> pl.DataFrame:
    """A contact that holds nothing but what is given, by field of mentors."""
    told: dict[str, Any] = {
        "first_name": None, "last_name": None, "primary_email": None, "primary_phone": None, "additional_emails": [],
        "additional_phones": [], "last_modified_at": NOW - timedelta(days=10),
    }  # fmt: skip
    custom = {}
    for name, value in values.items():
        match name:
            case "phone":
                told["primary_phone"] = value
            case "personal_email" | "uga_email":
                many = [value] if isinstance(value, str) else list(value or ())
                told["emails"] = [*told.get("emails", []), *many]
            case "preferred_name":
                told["prefix"] = value
            case "shift_preference" | "shirt_size":
                custom[PROGRAM.custom_field_from(name)] = value
            case _:
                told[name] = value
    return contact(contact_id, **told, custom_fields=orjson.dumps(custom).decode())


def edits(field: str, value: Any, mn_id: str = "0001", at: datetime = NOW) -> pl.DataFrame:
    """What Pat set, by default before what the last merge saw; at LATER, after it."""
    told = {"mn_id": mn_id, "field_name": field, "value": orjson.dumps(value).decode(), "at": at, "actor": "Pat"}
    return pl.DataFrame([told], schema=EDITS)


NO_EDITS = pl.DataFrame(schema=EDITS)
NO_BASE = TABLES["merge_base"].empty()


def merged(
    field: str,
    form: pl.DataFrame,
    contacts: pl.DataFrame,
    base: pl.DataFrame = NO_BASE,
    set_by_hand: pl.DataFrame = NO_EDITS,
    **settings: Any,
) -> Side:
    result = merge(form, contacts, base, set_by_hand, settings.get("year", PROGRAM), settings.get("now", NOW))
    return Side(result.values.row(0, named=True)[field], result)


def agreed(field: str) -> pl.DataFrame:
    """The base after both sides held the field's first value."""
    value = VALUES[field][0]
    return merged(field, ours(**{field: value}), theirs(**{field: value})).base


# -- first sight: no base ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_equal_at_first_sight_is_agreed(field: str) -> None:
    value = VALUES[field][0]
    side = merged(field, ours(**{field: value}), theirs(**{field: value}))
    assert side.value == value
    assert (side.conflicts, side.problems) == ([], [])
    settled = side.base.row(by_predicate=pl.col("field_name") == field, named=True)
    assert (settled["value"], settled["theirs"], settled["how"]) == (value, value, "equal")


@pytest.mark.parametrize("field", [*JOTFORM_ONLY, "preferred_name"])
def test_at_first_sight_jotform_has_the_say(field: str) -> None:
    _, form, other = VALUES[field]
    side = merged(field, ours(**{field: form}), theirs(**{field: other}))
    assert (side.value, side.conflicts, side.problems) == (form, [], [])


@pytest.mark.parametrize(
    ("field", "kind"), [("phone", "phone_mismatch"), *((f, "email_mismatch") for f in EMAIL_FIELDS)]
)
@pytest.mark.parametrize(("days", "is_asked"), [(59, True), (60, False), (61, False)])
def test_at_first_sight_a_newer_contact_makes_a_conflict(field: str, kind: str, days: int, *, is_asked: bool) -> None:
    _, form, other = VALUES[field]
    modified = theirs(**{field: other}, last_modified_at=NOW - timedelta(days=days))
    side = merged(field, ours(**{field: form}), modified)
    assert side.value == form
    assert side.conflicts == ([kind] if is_asked else [])


@pytest.mark.parametrize("field", ["personal_email", "uga_email", "preferred_name", "shift_preference"])
def test_givebutters_value_fills_what_the_form_left_empty(field: str) -> None:
    side = merged(field, ours(), theirs(**{field: VALUES[field][2]}))
    assert (side.value, side.conflicts) == (VALUES[field][2], [])


@pytest.mark.parametrize("field", [*JOTFORM_ONLY, "phone"])
def test_what_is_jotforms_is_never_filled_from_givebutter(field: str) -> None:
    assert merged(field, ours(), theirs(**{field: VALUES[field][2]})).value is None


@pytest.mark.parametrize("field", FIELDS)
def test_an_empty_contact_changes_nothing(field: str) -> None:
    side = merged(field, ours(**{field: VALUES[field][1]}), theirs())
    assert (side.value, side.conflicts, side.problems) == (VALUES[field][1], [], [])


@pytest.mark.parametrize("field", FIELDS)
def test_without_a_contact_the_forms_value_stands(field: str) -> None:
    side = merged(field, ours(contact_id=None, **{field: VALUES[field][1]}), theirs())
    assert side.value == VALUES[field][1]
    assert side.base.is_empty()


@pytest.mark.parametrize(("from_partner_form", "expected"), [(True, "Option 2"), (False, "Option 3")])
def test_the_shift_is_at_first_the_partner_forms_else_givebutters(expected: str, *, from_partner_form: bool) -> None:
    form = ours(shift_preference="Option 2", from_partner_form=from_partner_form)
    assert merged("shift_preference", form, theirs(shift_preference="Option 3")).value == expected


# -- later: one side moved ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
def test_what_nobody_moved_stays(field: str) -> None:
    base, value = agreed(field), VALUES[field][0]
    side = merged(field, ours(**{field: value}), theirs(**{field: value}), base)
    assert (side.value, side.conflicts, side.problems) == (value, [], [])
    assert side.base.equals(base)


@pytest.mark.parametrize("field", FIELDS)
def test_a_change_on_the_form_is_taken(field: str) -> None:
    old, form, _ = VALUES[field]
    side = merged(field, ours(**{field: form}), theirs(**{field: old}), agreed(field))
    assert (side.value, side.conflicts, side.problems) == (form, [], [])


@pytest.mark.parametrize("field", JOTFORM_ONLY)
def test_jotforms_fields_ignore_an_edit_in_givebutter_with_a_warning(field: str) -> None:
    old, _, other = VALUES[field]
    side = merged(field, ours(**{field: old}), theirs(**{field: other}), agreed(field))
    assert (side.value, side.conflicts, side.problems) == (old, [], ["givebutter_edit_ignored"])
    (problem,) = side.merged.problems
    assert problem.mn_id == "0001"
    assert problem.field_name == field
    assert old in problem.message
    assert other in problem.message


@pytest.mark.parametrize("field", ["personal_email", "uga_email", "preferred_name", "shift_preference"])
def test_an_edit_in_givebutter_is_taken(field: str) -> None:
    old, _, other = VALUES[field]
    side = merged(field, ours(**{field: old}), theirs(**{field: other}), agreed(field))
    assert (side.value, side.conflicts, side.problems) == (other, [], [])


@pytest.mark.parametrize("field", FIELDS)
def test_a_blank_in_givebutter_is_no_edit(field: str) -> None:
    old = VALUES[field][0]
    side = merged(field, ours(**{field: old}), theirs(), agreed(field))
    assert (side.value, side.conflicts, side.problems) == (old, [], [])


@pytest.mark.parametrize("field", FIELDS)
def test_an_answer_taken_off_the_form_is_no_edit(field: str) -> None:
    old = VALUES[field][0]
    assert merged(field, ours(), theirs(**{field: old}), agreed(field)).value == old


@pytest.mark.parametrize("field", ["personal_email", "uga_email", "preferred_name", "shift_preference"])
def test_an_answer_that_is_back_on_the_form_is_no_edit(field: str) -> None:
    old, _, other = VALUES[field]
    base = agreed(field)
    for form in (old, None, old):
        side = merged(field, ours(**{field: form}), theirs(**{field: other}), base)
        assert (side.value, side.conflicts) == (other, [])
        base = side.base


# -- later: both sides moved -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", EMAIL_FIELDS)
def test_two_edits_of_an_email_are_a_conflict_and_ours_stays(field: str) -> None:
    _, form, other = VALUES[field]
    side = merged(field, ours(**{field: form}), theirs(**{field: other}), agreed(field))
    assert (side.value, side.conflicts) == (form, ["email_mismatch"])
    (conflict,) = side.merged.conflicts
    assert (conflict.option_a["value"], conflict.option_b["value"]) == (form, other)
    assert conflict.context == {"field": field, "contact_id": 1}


def test_two_edits_of_the_preferred_name_are_givebutters() -> None:
    old, form, other = VALUES["preferred_name"]
    assert old != form
    side = merged("preferred_name", ours(preferred_name=form), theirs(preferred_name=other), agreed("preferred_name"))
    assert (side.value, side.conflicts) == (other, [])


@pytest.mark.parametrize(("from_partner_form", "expected"), [(True, "Option 2"), (False, "Option 3")])
def test_two_edits_of_the_shift_are_the_partner_forms(expected: str, *, from_partner_form: bool) -> None:
    form = ours(shift_preference="Option 2", from_partner_form=from_partner_form)
    base = agreed("shift_preference")
    assert merged("shift_preference", form, theirs(shift_preference="Option 3"), base).value == expected


def test_two_edits_to_the_same_value_agree() -> None:
    for field in FIELDS:
        value = VALUES[field][2]
        side = merged(field, ours(**{field: value}), theirs(**{field: value}), agreed(field))
        assert (side.value, side.conflicts, side.problems) == (value, [], []), field


# -- every field and every movement ------------------------------------------------------------------------------------

OLD, FORM, THEIR, BLANK = 0, 1, 2, None
"""Which of the field's `VALUES` a side holds."""
MOVES: dict[str, tuple[int | None, int | None]] = {
    "none": (OLD, OLD),
    "ours": (FORM, OLD),
    "theirs": (OLD, THEIR),
    "both alike": (THEIR, THEIR),
    "both apart": (FORM, THEIR),
    "ours blanked": (BLANK, OLD),
    "theirs blanked": (OLD, BLANK),
    "both blanked": (BLANK, BLANK),
    "ours blanked, theirs moved": (BLANK, THEIR),
    "ours moved, theirs blanked": (FORM, BLANK),
}
"""What the form and Givebutter say after both had held the old value."""
ALWAYS = {
    "none": (OLD, None),
    "ours": (FORM, None),
    "both alike": (THEIR, None),
    "ours blanked": (OLD, None),
    "theirs blanked": (OLD, None),
    "both blanked": (OLD, None),
    "ours moved, theirs blanked": (FORM, None),
}
"""What stands, and what is told of it, whatever the field."""


def where_theirs_moved(
    alone: int, both: int, told_alone: str | None = None, told_both: str | None = None
) -> dict[str, tuple[int, str | None]]:
    return {
        **ALWAYS,
        "theirs": (alone, told_alone),
        "both apart": (both, told_both),
        "ours blanked, theirs moved": (alone, told_alone),
    }


FORMS_ALONE = where_theirs_moved(OLD, FORM, "givebutter_edit_ignored", "givebutter_edit_ignored")
TRUTH = {
    **dict.fromkeys(JOTFORM_ONLY, FORMS_ALONE),
    "phone": where_theirs_moved(OLD, FORM, "phone_mismatch", "phone_mismatch"),
    **dict.fromkeys(EMAIL_FIELDS, where_theirs_moved(THEIR, FORM, told_both="email_mismatch")),
    "preferred_name": where_theirs_moved(THEIR, THEIR),
    "shift_preference": where_theirs_moved(THEIR, THEIR),
    "shift_preference of the partner form": where_theirs_moved(THEIR, FORM),
}


@pytest.mark.parametrize("move", MOVES)
@pytest.mark.parametrize("rule", TRUTH)
def test_the_truth_table(rule: str, move: str) -> None:
    """What stands after each movement, and again in the next run; back where both were, nothing is left of it."""
    field, _, of_partner_form = rule.partition(" of ")

    def run(sides: tuple[int | None, int | None], base: pl.DataFrame) -> Side:
        form, held = (None if side is None else VALUES[field][side] for side in sides)
        return merged(field, ours(**{field: form}, from_partner_form=bool(of_partner_form)), theirs(**{field: held}),
                      base)  # fmt: skip

    stands, told = TRUTH[rule][move]
    expected = (VALUES[field][stands], [told] if told else [])
    base = agreed(field)
    for _ in range(2):
        side = run(MOVES[move], base)
        assert (side.value, side.conflicts + side.problems) == expected
        base = side.base
    back = run((OLD, OLD), base)
    assert (back.value, back.conflicts, back.problems) == (VALUES[field][OLD], [], [])


# -- what first sight asks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
@pytest.mark.parametrize("is_stale", [False, True])
def test_a_question_of_first_sight_stays_whoever_touches_something_else(field: str, *, is_stale: bool) -> None:
    """Our own import of another field modifies the contact too; a shirt size modifies the sign-up."""
    _, form, other = VALUES[field]
    signed, modified = (NOW - timedelta(days=days) for days in ((200, 250) if is_stale else (60, 10)))
    base, questions = NO_BASE, []
    for signed_at, modified_at in ((signed, modified), (signed, NOW), (NOW, modified), (NOW, NOW)):
        mine = ours(**{field: form}, signed_at=signed_at)
        side = merged(field, mine, theirs(**{field: other}, last_modified_at=modified_at), base)
        assert side.value == form
        (conflict,) = side.merged.conflicts
        questions.append((conflict.id(YEAR), conflict.conflict_type, conflict.severity, conflict.recommended_option))
        base = side.base
    assert len(set(questions)) == 1
    assert (questions[0][1] == "data_staleness") == is_stale


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
@pytest.mark.parametrize(
    ("sides", "of_phone", "of_email"),
    [
        ((OLD, THEIR), (OLD, False), (OLD, False)),
        ((FORM, OLD), (FORM, True), (OLD, False)),
        ((OLD, FORM), (OLD, True), (OLD, True)),
        ((FORM, FORM), (FORM, False), (FORM, False)),
        ((FORM, BLANK), (FORM, False), (FORM, False)),
    ],
)
def test_a_question_of_first_sight_ends_when_a_side_moves(
    field: str, sides: tuple[int, int | None], of_phone: tuple[int, bool], of_email: tuple[int, bool]
) -> None:
    """It was the form's value against theirs: the form moved, they did, both did, or nothing is left to ask about."""
    _, form, other = VALUES[field]
    base = merged(field, ours(**{field: form}), theirs(**{field: other})).base
    mine, held = (None if side is None else VALUES[field][side] for side in sides)
    side = merged(field, ours(**{field: mine}), theirs(**{field: held}), base)
    stands, is_asked = of_phone if field == "phone" else of_email
    assert (side.value, bool(side.conflicts)) == (VALUES[field][stands], is_asked)


# -- the phone ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("days", "conflicts"), [(-5, ["phone_mismatch"]), (29, ["phone_mismatch"]), (30, ["phone_mismatch"]), (31, [])]
)
def test_a_phone_edited_in_givebutter_is_asked_unless_the_sign_up_is_30_days_newer(
    days: int, conflicts: list[str]
) -> None:
    edited = theirs(phone=THEIR_PHONE, last_modified_at=SIGNED_AT - timedelta(days=days))
    side = merged("phone", ours(phone=OLD_PHONE), edited, agreed("phone"))
    assert (side.value, side.conflicts) == (OLD_PHONE, conflicts)


def test_the_base_stays_while_a_conflict_is_open() -> None:
    base = agreed("phone")
    edited = theirs(phone=THEIR_PHONE)
    once = merged("phone", ours(phone=OLD_PHONE), edited, base)
    again = merged("phone", ours(phone=OLD_PHONE), edited, once.base)
    assert once.base.equals(base)
    assert [c.id(YEAR) for c in again.merged.conflicts] == [c.id(YEAR) for c in once.merged.conflicts]


def test_a_conflict_ends_when_givebutter_is_put_right() -> None:
    edited = merged("phone", ours(phone=OLD_PHONE), theirs(phone=THEIR_PHONE), agreed("phone"))
    assert merged("phone", ours(phone=OLD_PHONE), theirs(phone=OLD_PHONE), edited.base).conflicts == []


def test_our_phone_anywhere_on_the_contact_agrees() -> None:
    held = theirs(phone=THEIR_PHONE, additional_phones=[OLD_PHONE])
    side = merged("phone", ours(phone=OLD_PHONE), held, agreed("phone"))
    assert (side.value, side.conflicts) == (OLD_PHONE, [])


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
def test_a_conflict_tells_what_a_person_needs(field: str) -> None:
    _, form, other = VALUES[field]
    side = merged(field, ours(**{field: form}), theirs(**{field: other}))
    (conflict,) = side.merged.conflicts
    assert {"value", "source", "name", "changed_at"} <= conflict.option_a.keys()
    assert {"value", "source", "name", "emails", "phones", "tags", "last_modified_at"} <= conflict.option_b.keys()
    assert conflict.recommended_option in {"a", "b"}
    assert conflict.recommendation_reason
    assert conflict_rows(YEAR, [conflict])["id"].item()


# -- e-mails -----------------------------------------------------------------------------------------------------------


def test_ours_anywhere_among_the_contacts_emails_is_agreed() -> None:
    held = theirs(personal_email=["theirs@example.com", "form@example.com"])
    side = merged("personal_email", ours(personal_email="form@example.com"), held)
    assert (side.value, side.conflicts) == ("form@example.com", [])


def test_an_email_added_in_givebutter_is_no_edit_while_ours_is_there() -> None:
    held = theirs(personal_email=["theirs@example.com", "old@example.com"])
    side = merged("personal_email", ours(personal_email="old@example.com"), held, agreed("personal_email"))
    assert (side.value, side.conflicts) == ("old@example.com", [])


def test_the_new_primary_one_is_the_edit() -> None:
    held = theirs(personal_email=["first@example.com", "second@example.com"])
    side = merged("personal_email", ours(personal_email="old@example.com"), held, agreed("personal_email"))
    assert side.value == "first@example.com"


@pytest.mark.parametrize("school", ["ada@uga.edu", "ada@mail.uga.edu"])
def test_a_school_address_never_becomes_the_personal_one(school: str) -> None:
    assert merged("personal_email", ours(), theirs(personal_email=school)).value is None
    moved = merged("personal_email", ours(personal_email="old@example.com"), theirs(personal_email=school),
                   agreed("personal_email"))  # fmt: skip
    assert (moved.value, moved.conflicts) == ("old@example.com", [])


def test_a_personal_address_never_becomes_the_school_one() -> None:
    assert merged("uga_email", ours(), theirs(personal_email="ada@example.com")).value is None


# -- preferred names ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("title", ["Mr.", "Ms.", "Dr.", "mrs", "Prof.", "DR"])
def test_a_title_is_no_name(title: str) -> None:
    assert merged("preferred_name", ours(preferred_name="Ada"), theirs(preferred_name=title)).value == "Ada"
    side = merged("preferred_name", ours(preferred_name="Ada"), theirs(preferred_name=title), agreed("preferred_name"))
    assert (side.value, side.problems) == ("Ada", [])


LONG_NAME = "Maximiliana Alexandrina Josefa Victoria"
LONGER_NAME = " ".join([LONG_NAME] * 7)


@pytest.mark.parametrize(
    ("name", "cut"),
    [
        (LONG_NAME, "Maximiliana Alexandrina Josefa"),
        (LONG_NAME, "Maximiliana Alexandrina Josefa V"),
        (f"={LONG_NAME}", "=Maximiliana Alexandrina"),
        (LONGER_NAME, LONGER_NAME[:255]),
        (LONGER_NAME, LONGER_NAME[:255].rpartition(" ")[0]),
    ],
)
def test_a_name_cut_to_fit_is_equal(name: str, cut: str) -> None:
    once = merged("preferred_name", ours(preferred_name=name), theirs(preferred_name=cut))
    again = merged("preferred_name", ours(preferred_name=name), theirs(preferred_name=cut), once.base)
    assert (once.value, again.value) == (name, name)
    assert again.base.equals(once.base)


@pytest.mark.parametrize("name", ["Maxine", LONG_NAME])
def test_a_name_that_begins_like_ours_is_an_edit(name: str) -> None:
    base = merged("preferred_name", ours(preferred_name=name), theirs(preferred_name=name)).base
    assert merged("preferred_name", ours(preferred_name=name), theirs(preferred_name="Max"), base).value == "Max"


def test_the_year_file_names_givebutters_side_of_the_preferred_name() -> None:
    givebutter = {**PROGRAM.givebutter.model_dump(), "preferred_name_field": "preferred_first_name"}
    year = program(givebutter=givebutter)
    base = merged("preferred_name", ours(preferred_name="Ada"), contact(1, preferred_name="Ada"), year=year).base
    held = contact(1, prefix="Bea", preferred_name="Cleo")
    assert merged("preferred_name", ours(preferred_name="Ada"), held, base, year=year).value == "Cleo"


# -- what people set ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("has_base", [True, False])
def test_an_edit_by_a_person_outranks_both_sides(field: str, *, has_base: bool) -> None:
    old, form, other = VALUES[field]
    base = agreed(field) if has_base else NO_BASE
    mine = f"mine-{old}"
    side = merged(field, ours(**{field: form}), theirs(**{field: other}), base, edits(field, mine))
    assert side.value == mine


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
@pytest.mark.parametrize("choice", [1, 2])
def test_a_decided_value_is_no_conflict_once_givebutter_holds_it(field: str, choice: int) -> None:
    _, form, _ = VALUES[field]
    decided = VALUES[field][choice]
    word = edits(field, decided, at=LATER)
    side = merged(field, ours(**{field: form}), theirs(**{field: decided}), agreed(field), word)
    assert (side.value, side.conflicts, side.problems) == (decided, [], [])


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
def test_a_word_answers_what_was_asked_before_it(field: str) -> None:
    """A pending question keeps our value from being sent, so a person's edit has to end it."""
    old, form, other = VALUES[field]
    asked = merged(field, ours(**{field: form}), theirs(**{field: other}), agreed(field))
    assert asked.conflicts
    base = asked.base
    for _ in range(2):
        word = edits(field, f"9{old}", at=LATER)
        side = merged(field, ours(**{field: form}), theirs(**{field: other}), base, word, now=LATER)
        assert (side.value, side.conflicts, side.problems) == (f"9{old}", [], [])
        base = side.base


@pytest.mark.parametrize("field", ["phone", *EMAIL_FIELDS])
@pytest.mark.parametrize("is_sent", [False, True])
def test_a_later_edit_in_givebutter_is_asked_about_beside_a_word(field: str, *, is_sent: bool) -> None:
    old, form, other = VALUES[field]
    word = edits(field, form, at=LATER)
    held = theirs(**{field: form if is_sent else old})
    base = merged(field, ours(**{field: old}), held, agreed(field), word, now=LATER).base
    side = merge(ours(**{field: old}), theirs(**{field: other}), base, word, PROGRAM, LATER + timedelta(hours=1))
    assert side.values[field].item() == form
    (conflict,) = side.conflicts
    assert (conflict.option_a["value"], conflict.option_b["value"]) == (form, other)
    assert conflict.option_a["source"] == "Pat, here"


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("is_sent", [False, True])
def test_a_later_change_on_the_form_is_warned_of_beside_a_word(field: str, *, is_sent: bool) -> None:
    """Nothing that a mentor entered is lost without a trace."""
    old, form, other = VALUES[field]
    word = edits(field, other, at=LATER)
    held = theirs(**{field: other if is_sent else old})
    base = merged(field, ours(**{field: old}), held, agreed(field), word, now=LATER).base
    for _ in range(2):
        side = merge(ours(**{field: form}), held, base, word, PROGRAM, LATER + timedelta(hours=1))
        assert side.values[field].item() == other
        (problem,) = side.problems
        assert (problem.type, problem.current_value, problem.suggested_value) == ("form_edit_overruled", form, other)
        base = side.base
    confirmed = edits(field, other, at=LATER + timedelta(hours=2))
    again = merge(ours(**{field: form}), held, base, confirmed, PROGRAM, LATER + timedelta(hours=3))
    assert (again.values[field].item(), again.problems, again.conflicts) == (other, [], [])


def test_an_edit_in_givebutter_that_a_person_overrules_is_warned_of_while_it_is_there() -> None:
    """The warning does not go away by itself while Givebutter holds something else than the person set."""
    base, mine = agreed("preferred_name"), edits("preferred_name", "Birdie")
    for _ in range(3):
        side = merged("preferred_name", ours(preferred_name="Ada"), theirs(preferred_name="Cleo"), base, mine)
        assert (side.value, side.problems) == ("Birdie", ["givebutter_edit_overruled"])
        base = side.base
    imported = merged("preferred_name", ours(preferred_name="Ada"), theirs(preferred_name="Birdie"), base, mine)
    assert (imported.value, imported.problems) == ("Birdie", [])


def test_an_edit_that_givebutter_no_longer_holds_overrules_nothing() -> None:
    taken = merged(
        "preferred_name", ours(preferred_name="Ada"), theirs(preferred_name="Cleo"), agreed("preferred_name")
    )
    emptied = merged("preferred_name", ours(preferred_name="Ada"), theirs(), taken.base, edits("preferred_name", "Bea"))
    assert (emptied.value, emptied.problems) == ("Bea", [])


def test_an_edit_of_another_mentor_is_anothers() -> None:
    side = merged("phone", ours(phone=FORM_PHONE), theirs(phone=FORM_PHONE), NO_BASE, edits("phone", "x", mn_id="0002"))
    assert side.value == FORM_PHONE


# -- another contact, none, and back -----------------------------------------------------------------------------------


def test_a_taken_edit_stays_when_the_contact_is_another_one() -> None:
    taken = merged(
        "preferred_name", ours(preferred_name="Ada"), theirs(preferred_name="Bird"), agreed("preferred_name")
    )
    assert taken.value == "Bird"
    relinked = merged("preferred_name", ours(contact_id=2, preferred_name="Ada"), theirs(2, preferred_name="Ada"),
                      taken.base)  # fmt: skip
    assert relinked.value == "Bird"


def test_a_taken_edit_stays_when_the_contact_is_gone() -> None:
    taken = merged("personal_email", ours(personal_email="old@example.com"), theirs(personal_email="new@example.com"),
                   agreed("personal_email"))  # fmt: skip
    gone = merged("personal_email", ours(contact_id=None, personal_email="old@example.com"), theirs(), taken.base)
    assert gone.value == "new@example.com"


def test_a_taken_edit_gives_way_to_a_later_change_on_the_form() -> None:
    taken = merged("personal_email", ours(personal_email="old@example.com"), theirs(personal_email="new@example.com"),
                   agreed("personal_email"))  # fmt: skip
    side = merged("personal_email", ours(personal_email="form@example.com"), theirs(personal_email="new@example.com"),
                  taken.base)  # fmt: skip
    assert (side.value, side.conflicts) == ("form@example.com", [])


# -- over many runs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("has_base", [True, False])
@pytest.mark.parametrize("is_exported", [True, False])
def test_two_edits_never_flip_flop(field: str, *, has_base: bool, is_exported: bool) -> None:
    """Both sides differ; whether or not an import brings our value over, the same value stands five runs long."""
    _, form, other = VALUES[field]
    base = agreed(field) if has_base else NO_BASE
    contacts, stood = theirs(**{field: other}), []
    for _ in range(5):
        side = merged(field, ours(**{field: form}), contacts, base)
        stood.append(side.value)
        base = side.base
        if is_exported and not side.conflicts:
            contacts = theirs(**{field: side.value})
    assert len(set(stood)) == 1


SOME = {field: st.sampled_from([None, *values]) for field, values in VALUES.items()}
PERSON = st.fixed_dictionaries(
    {
        "form": st.fixed_dictionaries(SOME),
        "then": st.fixed_dictionaries(SOME),
        "contact": st.fixed_dictionaries(SOME),
        "contact_then": st.fixed_dictionaries(SOME),
        "from_partner_form": st.booleans(),
        "days": st.integers(0, 120),
        "edit": st.sampled_from([None, *FIELDS]),
        "edited_at": st.sampled_from([NOW, LATER]),
    }
)


def people(drawn: list[dict[str, Any]], *, later: bool) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    form, held = ("then", "contact_then") if later else ("form", "contact")
    numbered = list(enumerate(drawn, start=1))
    set_by_hand = [
        edits(one["edit"], VALUES[one["edit"]][1], f"{n:04d}", one["edited_at"])
        for n, one in numbered
        if one["edit"] and later
    ]
    return (
        together(
            *(ours(f"{n:04d}", n, **one[form], from_partner_form=one["from_partner_form"]) for n, one in numbered)
        ),
        together(*(theirs(n, **one[held], last_modified_at=NOW - timedelta(days=one["days"])) for n, one in numbered)),
        pl.concat([NO_EDITS, *set_by_hand]),
    )


def findings(result: Merged) -> tuple[pl.DataFrame, pl.DataFrame]:
    return problem_rows(YEAR, result.problems).sort("id"), conflict_rows(YEAR, result.conflicts).sort("id")


@given(st.lists(PERSON, min_size=1, max_size=4))
def test_merging_again_changes_nothing(drawn: list[dict[str, Any]]) -> None:
    form, contacts, by_hand = people(drawn, later=False)
    first = merge(form, contacts, NO_BASE, by_hand, PROGRAM, NOW)
    form, contacts, by_hand = people(drawn, later=True)
    once = merge(form, contacts, first.base, by_hand, PROGRAM, NOW)
    again = merge(form, contacts, once.base, by_hand, PROGRAM, NOW + timedelta(hours=1))
    assert again.values.equals(once.values)
    assert again.base.equals(once.base)
    for before, after in zip(findings(once), findings(again), strict=True):
        assert after.equals(before)


@given(st.lists(PERSON, min_size=2, max_size=4), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(drawn: list[dict[str, Any]], random: Any) -> None:
    form, contacts, _ = people(drawn, later=False)
    base = merge(form, contacts, NO_BASE, NO_EDITS, PROGRAM, NOW).base
    form, contacts, by_hand = people(drawn, later=True)
    shuffled = [
        frame.sample(fraction=1, shuffle=True, seed=random.randrange(1000)) for frame in (form, contacts, base, by_hand)
    ]
    one = merge(form, contacts, base, by_hand, PROGRAM, NOW)
    other = merge(*shuffled, PROGRAM, NOW)
    assert other.values.sort("mn_id").equals(one.values.sort("mn_id"))
    key = TABLES["merge_base"].key
    assert other.base.sort(key).equals(one.base.sort(key))
    for expected, found in zip(findings(one), findings(other), strict=True):
        assert found.equals(expected)
