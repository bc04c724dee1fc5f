"""Judging what people decide and set: what is recorded, what is refused and why; and deciding in a spreadsheet."""

from __future__ import annotations

import csv
import json
import stat
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from mentor_pipeline.domain.findings import Conflict
from mentor_pipeline.errors import DecisionRefusedError, ExportRefusedError, FileRejectedError, WrongUseError
from mentor_pipeline.operator import reports
from mentor_pipeline.operator.conflict_sheet import COLUMNS, SHOWN, read_decisions, side_by_side, write_sheet
from mentor_pipeline.operator.decisions import ACTIONS, Decision, Desk, Edit, action_rows, refuse_if_any
from tests.builders import NOW, YEAR, action, alias, contact, mentor, program, row, together

if TYPE_CHECKING:
    from pathlib import Path

    from mentor_pipeline.resources.warehouse import Warehouse

A, B, THIRD, STRANGER = 101, 102, 103, 104
ARCHIVED, MISSING, CARRIER, TAKEN = 105, 106, 107, 108


def conflict(mn_id: str, kind: str, a: Any, b: Any, **changes: Any) -> pl.DataFrame:
    """A row of sync_conflicts; an option is its value, or the whole of it."""
    options = [option if isinstance(option, dict) else {"value": option, "source": "test"} for option in (a, b)]
    defaults = {
        "id": Conflict(mn_id, kind, *options, "test").id(YEAR),
        "year": YEAR,
        "mn_id": mn_id,
        "conflict_type": kind,
        "option_a": json.dumps(options[0]),
        "option_b": json.dumps(options[1]),
        "context": "{}",
        "recommended_option": "a",
        "recommendation_reason": "=it is ahead",
        "status": "pending",
        "severity": "high",
        "detected_at": NOW,
    }
    return row("sync_conflicts", **{**defaults, **changes})


SELECTION = conflict("0001", "contact_selection", A, B)
COLLISION = conflict(
    "0002", "external_id_collision", {"value": STRANGER, "what": "it is this mentor after all: link it"},
    {"value": f"release {STRANGER}", "what": "it is not"}, recommended_option="b",
)  # fmt: skip
PHONE = conflict(
    "0003", "phone_mismatch", "+17065550103", "+17065550199", context='{"field": "phone"}', recommended_option=None
)
EMAIL = conflict(
    "0004", "email_mismatch", "a@example.com", "b@example.com", context='{"field": "personal_email"}',
    recommended_option="b",
)  # fmt: skip
GONE = conflict("0005", "contact_selection", 900, 901, status="obsolete")
DONE = conflict(
    "0005", "phone_mismatch", "+17065550105", "+17065550198", status="resolved", user_decision="a", resolved_by="Ben",
    resolved_at=NOW,
)  # fmt: skip


def id_of(conflict: pl.DataFrame) -> str:
    return str(conflict["id"].item())


@pytest.fixture
def desk_of(warehouse: Warehouse) -> Any:
    mentors = [mentor(f"000{number}") for number in range(1, 7)]
    warehouse.replace("mentors", together(*mentors, mentor("999001", is_placeholder=True)), year=YEAR)
    warehouse.append("mentor_aliases", alias("999002", "0006"))
    warehouse.upsert("sync_conflicts", together(SELECTION, COLLISION, PHONE, EMAIL, GONE, DONE))
    warehouse.upsert(
        "raw_gb_full_contacts",
        together(
            *(contact(number) for number in (A, B, THIRD)),
            contact(STRANGER, external_id="0002", external_mn_id="2"),
            contact(ARCHIVED, archived_at=NOW),
            contact(MISSING, missing_since=NOW),
            contact(CARRIER, external_id="MN0006", external_mn_id="6"),
            contact(TAKEN),
        ),
    )
    taken = row(
        "contact_links", year=YEAR, mn_id="0006", gb_contact_id=TAKEN, gb_match_status="linked",
        gb_match_method="email", candidate_count=1, reason="made up",
    )  # fmt: skip
    warehouse.replace("contact_links", taken, year=YEAR)
    return lambda: Desk(warehouse, program())


def recorded(rulings: Any) -> list[dict[str, Any]]:
    return action_rows(rulings, actor="Ada", at=NOW).to_dicts()


# -- decisions -------------------------------------------------------------------------------------------------------


def test_a_chosen_contact_is_recorded_with_who_and_when(desk_of: Any) -> None:
    (ruling,) = desk_of().judge([Decision(id_of(SELECTION), "b", note="asked her")])
    assert (ruling.state, ruling.mn_id, ruling.about) == ("accepted", "0001", "contact_selection")
    assert ruling.words.startswith(f"b: contact {B} (")
    (action,) = recorded([ruling])
    assert (action["actor"], action["at"], action["note"]) == ("Ada", NOW, "asked her")
    assert (action["action"], action["mn_id"], action["target_id"]) == ("conflict_decision", "0001", id_of(SELECTION))
    assert json.loads(action["value"]) == {"decision": "b", "value": B, "field": "gb_contact_id"}


def test_the_beginning_of_an_id_is_enough_while_it_is_one_conflicts(desk_of: Any) -> None:
    short = id_of(SELECTION).removeprefix("conflict-")[:8]
    assert desk_of().judge([Decision(short, "a")])[0].state == "accepted"
    for too_short in ("conflict-", short[:5]):
        assert desk_of().judge([Decision(too_short, "a")])[0].state == "refused"


@pytest.mark.parametrize(
    ("conflict", "typed", "value"),
    [
        (SELECTION, str(THIRD), THIRD),
        (SELECTION, "none", "none"),
        (PHONE, "(706) 555-0142", "+17065550142"),
        (EMAIL, "Wren@Example.com", "wren@example.com"),
    ],
)
def test_a_value_of_ones_own_is_recorded_in_its_normal_form(
    desk_of: Any, conflict: pl.DataFrame, typed: str, value: Any
) -> None:
    rulings = desk_of().judge([Decision(id_of(conflict), "custom", typed)])
    assert json.loads(recorded(rulings)[0]["value"])["value"] == value


@pytest.mark.parametrize(
    ("decision", "why"),
    [
        (Decision("conflict-unknown", "a"), "There is no conflict"),
        (Decision(id_of(DONE), "b"), "decided already: a, by Ben"),
        (Decision(id_of(DONE), "b"), "`mentor-pipeline edit 0005 phone VALUE`"),
        (Decision(id_of(GONE), "a"), "obsolete"),
        (Decision(id_of(SELECTION), "c"), "no decision"),
        (Decision(id_of(SELECTION), "custom"), "needs a value"),
        (Decision(id_of(SELECTION), "a", "101"), "takes no value"),
        (Decision(id_of(PHONE), "custom", "call me"), "expected one phone number"),
        (Decision(id_of(PHONE), "custom", "none"), "is no phone"),
        (Decision(id_of(EMAIL), "custom", "wren@uga.edu"), "set uga_email"),
        (Decision(id_of(SELECTION), "custom", "me"), "expected the number of a contact"),
        (Decision(id_of(SELECTION), "custom", "999999"), "no such contact is known"),
        (Decision(id_of(SELECTION), "custom", str(ARCHIVED)), "it is archived"),
        (Decision(id_of(SELECTION), "custom", str(MISSING)), "no longer in Givebutter"),
        (Decision(id_of(SELECTION), "custom", str(CARRIER)), "the External ID of mentor 0006"),
        (Decision(id_of(SELECTION), "custom", str(TAKEN)), "it is mentor 0006's"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(desk_of: Any, decision: Decision, why: str) -> None:
    rulings = desk_of().judge([decision])
    assert why in rulings[0].words
    assert recorded(rulings) == []
    with pytest.raises(DecisionRefusedError):
        refuse_if_any(rulings)


def test_one_contact_cannot_be_given_to_two_mentors_at_once(desk_of: Any) -> None:
    first, second = desk_of().judge([Decision(id_of(SELECTION), "a"), Edit("0003", "gb_contact_id", str(A))])
    assert (first.state, second.state) == ("accepted", "refused")
    assert "it is given here to mentor 0001" in second.words
    assert "gb_contact_id none" not in second.words  # nothing is wrong with what was stored before


def test_a_sheet_that_gives_one_contact_to_two_mentors_names_both_rows(desk_of: Any, warehouse: Warehouse) -> None:
    other = conflict("0005", "contact_selection", B, THIRD)
    warehouse.upsert("sync_conflicts", other)
    wishes = [Decision(id_of(one), "custom", str(A), row=number) for number, one in ((2, SELECTION), (3, other))]
    with pytest.raises(DecisionRefusedError) as refused:
        refuse_if_any(desk_of().judge(wishes))
    assert "row 3, contact_selection of mentor 0005" in str(refused.value)
    assert "row 2 gives it to mentor 0001" in str(refused.value)


@pytest.mark.parametrize("told", ["0002", "0999", "Maya"])
def test_a_row_whose_cells_are_of_two_conflicts_is_refused(desk_of: Any, told: str) -> None:
    (ruling,) = desk_of().judge([Decision(id_of(SELECTION), "a", row=2, whose=told)])
    assert (ruling.state, ruling.action) == ("refused", None)
    assert f"The row says mentor {told}, but its conflict is that of mentor 0001" in ruling.words


@pytest.mark.parametrize("told", ["0001", "1", None])
def test_a_row_whose_mentor_is_the_conflicts_is_taken(desk_of: Any, told: str | None) -> None:
    assert desk_of().judge([Decision(id_of(SELECTION), "a", whose=told)])[0].state == "accepted"


def test_one_conflict_is_decided_once_in_a_batch(desk_of: Any) -> None:
    rulings = desk_of().judge([Decision(id_of(SELECTION), "a"), Decision(id_of(SELECTION), "b")])
    assert [ruling.state for ruling in rulings] == ["accepted", "refused"]


def test_a_batch_with_a_refusal_names_it_and_records_nothing(desk_of: Any) -> None:
    rulings = desk_of().judge([Decision(id_of(SELECTION), "a"), Decision(id_of(PHONE), "custom", "no")])
    with pytest.raises(DecisionRefusedError, match="1 of 2 cannot be done, so nothing was written") as refused:
        refuse_if_any(rulings)
    assert id_of(PHONE) in str(refused.value)


def test_recommendations_leave_out_conflicts_without_one(desk_of: Any) -> None:
    wishes, undecided = desk_of().recommended()
    assert {(wish.conflict_id, wish.choice) for wish in wishes} == {
        (id_of(SELECTION), "a"), (id_of(COLLISION), "b"), (id_of(EMAIL), "b"),
    }  # fmt: skip
    assert [row["id"] for row in undecided] == [id_of(PHONE)]
    only, _ = desk_of().recommended("external_id_collision")
    assert [wish.conflict_id for wish in only] == [id_of(COLLISION)]
    assert desk_of().recommended("data_staleness") == ([], [])  # there may be such, only none is open
    with pytest.raises(WrongUseError, match=r"Known types: contact_selection, .*email_mismatch"):
        desk_of().recommended("phones")


# -- edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["0001", "1", "MN0001", "#1"])
def test_a_field_is_set_under_the_mentors_own_id(desk_of: Any, asked: str) -> None:
    (ruling,) = desk_of().judge([Edit(asked, "training_done", "yes")])
    (action,) = recorded([ruling])
    assert (action["mn_id"], action["field"], action["value"]) == ("0001", "training_done", "true")


def test_an_edit_follows_a_placeholder_to_its_real_id(desk_of: Any) -> None:
    (ruling,) = desk_of().judge([Edit("999002", "notes", "came late")])
    assert ruling.mn_id == "0006"


def test_setting_the_same_again_records_nothing(desk_of: Any, warehouse: Warehouse) -> None:
    warehouse.append(ACTIONS, action("edit", mn_id="0001", field="shirt_size", value='"L"'))
    (ruling,) = desk_of().judge([Edit("0001", "shirt_size", "L")])
    assert (ruling.state, recorded([ruling])) == ("unchanged", [])


@pytest.mark.parametrize(
    ("edit", "why"),
    [
        (Edit("0099", "notes", "x"), "No mentor of 2025 has the id '0099'"),
        (Edit("0001", "amount_raised", "75"), "cannot be edited"),
        (Edit("0001", "gb_contact_id", str(TAKEN)), "first `mentor-pipeline edit 0006 gb_contact_id none`"),
    ],
)
def test_an_impossible_edit_is_refused(desk_of: Any, edit: Edit, why: str) -> None:
    (ruling,) = desk_of().judge([edit])
    assert ruling.state == "refused"
    assert why in ruling.words
    assert "Nothing was written" in ruling.words


# -- in a spreadsheet ------------------------------------------------------------------------------------------------


@pytest.fixture
def sheet(desk_of: Any, warehouse: Warehouse, tmp_path: Path) -> Path:
    assert desk_of
    path = tmp_path / "conflicts.csv"
    assert write_sheet(path, reports.conflicts(warehouse, program()).rows) == 4
    return path


def filled_in(sheet: Path, **decisions: tuple[str, ...]) -> Path:
    """The sheet as a spreadsheet saves it, with decisions by conflict id (without its prefix)."""
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    for one in rows:
        chosen = decisions.get(one["conflict_id"].removeprefix("conflict-"))
        if chosen:
            one |= dict(zip(("decision", "custom_value", "note"), chosen, strict=False))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return sheet


def key(conflict: pl.DataFrame) -> str:
    return id_of(conflict).removeprefix("conflict-")


def test_a_sheet_has_all_pending_conflicts_and_is_for_its_owner_only(sheet: Path) -> None:
    text = sheet.read_text(encoding="utf-8-sig")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {one["conflict_id"] for one in rows} == {id_of(one) for one in (SELECTION, COLLISION, PHONE, EMAIL)}
    assert {one["decision"] for one in rows} == {""}
    assert "'=it is ahead" in text  # no spreadsheet runs it as a formula
    assert stat.S_IMODE(sheet.stat().st_mode) == 0o600


def test_an_untouched_sheet_decides_nothing(sheet: Path) -> None:
    assert read_decisions(sheet) == []


def test_decisions_come_back_from_a_sheet(sheet: Path, desk_of: Any) -> None:
    chosen = {key(SELECTION): ("B", "", "asked her"), key(PHONE): ("custom", "'+1 706 555 0142"), key(EMAIL): ("skip",)}
    wishes = read_decisions(filled_in(sheet, **chosen))
    rulings = desk_of().judge(wishes)
    assert {ruling.state for ruling in rulings} == {"accepted"}
    values = {one["mn_id"]: json.loads(one["value"])["value"] for one in recorded(rulings)}
    assert values == {"0001": B, "0003": "+17065550142", "0004": None}


def test_a_sheet_that_was_imported_before_changes_nothing(sheet: Path, desk_of: Any, warehouse: Warehouse) -> None:
    decided = DONE.with_columns(id=SELECTION["id"], user_decision=SELECTION["recommended_option"])
    warehouse.upsert("sync_conflicts", decided)
    wishes = read_decisions(filled_in(sheet, **{key(SELECTION): ("a",)}))
    (same,) = desk_of().judge(wishes, again=True)
    assert (same.state, recorded([same])) == ("unchanged", [])
    (other,) = desk_of().judge([Decision(id_of(SELECTION), "b")], again=True)
    assert other.state == "refused"


def test_a_fault_in_a_sheet_is_told_by_its_row_and_mentor(sheet: Path, desk_of: Any) -> None:
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        rows = {one["conflict_id"]: number for number, one in enumerate(csv.DictReader(file), start=2)}
    place = f"row {rows[id_of(PHONE)]}, phone_mismatch of mentor 0003 "
    wishes = read_decisions(filled_in(sheet, **{key(PHONE): ("x",), key(SELECTION): ("a",)}))
    rulings = desk_of().judge(wishes)
    assert next(one for one in rulings if one.state == "refused").full_name
    with pytest.raises(DecisionRefusedError, match=f"  {place}.*: 'x' is no decision"):
        refuse_if_any(rulings)
    with pytest.raises(DecisionRefusedError, match=f"^{place}.*: 'x' is no decision"):
        refuse_if_any([one for one in rulings if one.state == "refused"])


def test_a_sheet_is_no_workbook(tmp_path: Path) -> None:
    with pytest.raises(ExportRefusedError, match=r"Nothing was written. Name it sheet\.csv\."):
        write_sheet(tmp_path / "sheet.XLSX", [])
    assert list(tmp_path.iterdir()) == []


def test_a_sheet_is_never_written_over(sheet: Path) -> None:
    before = sheet.read_bytes()
    with pytest.raises(ExportRefusedError, match=r"is there already\. It was left as it is"):
        write_sheet(sheet, [])
    assert sheet.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b"a,b\r\n1,2\r\n", "it has no columns conflict_id and decision"),
        (b"conflict_id,decision\r\nconflict-1,a,b\r\n", "line 2 has 3 cells where the header has 2"),
        (b"conflict_id,decision\r\n,a\r\n", "row 2 has no conflict_id"),
        (b"conflict_id,decision,custom_value\r\nc,a,\r\nconflict-1,,311\r\n", "row 3 has no decision"),
        (b"conflict_id,mn_id,mentor,decision,custom_value\r\nc,1,Ada,,7\r\n", "row 2 (mentor 1 Ada) has no decision"),
        ("conflict_id,decision\r\nconflict-1,é\r\n".encode("latin-1"), "line 2 is not UTF-8"),
    ],
)
def test_what_is_no_sheet_is_refused_with_its_line(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "sheet.csv"
    path.write_bytes(content)
    with pytest.raises(FileRejectedError, match="Nothing was decided") as refused:
        read_decisions(path)
    assert why in str(refused.value)
    assert "Givebutter" not in str(refused.value)


def test_conflicts_stand_side_by_side_in_the_catalog_without_their_markup() -> None:
    nasty = SELECTION.with_columns(full_name=pl.lit("Ada | <script>x</script> [a](b)\n*Elm*"))
    table = side_by_side(nasty)
    head, rule, line = table.splitlines()
    assert head.count("|") == rule.count("|") == line.count("|")
    assert not {"<", "[", "*"} & set(line)
    assert "&#60;script&#62;" in line
    many = pl.concat([nasty] * (SHOWN + 1))
    assert side_by_side(many).endswith(f"The first {SHOWN} of {SHOWN + 1}; all are in `sync_conflicts`.")
