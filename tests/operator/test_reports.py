"""What the reports say of a warehouse with known rows."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.cli.terminal import json_text
from mentor_pipeline.errors import FileRejectedError, MentorPipelineError, WrongUseError
from mentor_pipeline.operator import reports
from mentor_pipeline.operator.reports import ChangeFilter, MatchCount, NothingSyncedError
from mentor_pipeline.settings import Settings
from tests.builders import NOW, YEAR, contact, mentor, program, row, together
from tests.small_year import SECOND, conflict, run, store_small_year

if TYPE_CHECKING:
    import polars as pl

    from mentor_pipeline.resources.warehouse import Warehouse


@pytest.fixture
def synced(warehouse: Warehouse) -> Warehouse:
    store_small_year(warehouse)
    return warehouse


@pytest.fixture
def settings(data_dir: Path) -> Settings:
    return Settings(data_dir=data_dir)


# -- status ----------------------------------------------------------------------------------------------------------


def test_status_counts_what_is_stored(synced: Warehouse, settings: Settings) -> None:
    found = reports.status(synced, settings, program(), NOW)
    assert found.mentors == 3
    assert found.by_status == {"needs_setup": 2, "complete": 1}
    assert found.by_match == [
        MatchCount("conflict", None, 1), MatchCount("linked", "email", 1), MatchCount("new", None, 1),
    ]  # fmt: skip
    assert (found.import_rows, found.differing, found.held) == (1, 1, {"contact_conflict": 1})
    assert found.conflicts == {"contact_selection": 1, "phone_mismatch": 1}
    assert found.warnings == {"shared_phone": 1}
    assert found.errors == {}
    assert found.changes == {"contact_linked": 1, "field_change": 1}
    assert (found.contacts, found.contacts_known_at) == (3, NOW - timedelta(hours=1))
    assert found.last_sync is not None
    assert (found.last_sync.run_id, found.last_sync.by) == (SECOND, "Ada")
    assert found.newest_export is None


def test_status_before_the_first_sync_says_what_to_do(warehouse: Warehouse, settings: Settings) -> None:
    found = reports.status(warehouse, settings, program(), NOW)
    assert found.mentors == 0
    assert "Run `mentor-pipeline sync`" in found.next_step
    assert not settings.data_dir.exists()


def test_the_next_step_is_the_first_thing_that_needs_a_person(synced: Warehouse, settings: Settings) -> None:
    def next_step(now: datetime = NOW) -> str:
        return reports.status(synced, settings, program(), now).next_step

    assert next_step().startswith("Decide about contacts (1 undecided)")
    synced.upsert("sync_conflicts", conflict("0042", "contact_selection", "high", status="resolved"))
    assert "import-contacts" in next_step(NOW + timedelta(days=2))
    assert "mentor-pipeline export" in next_step()
    settings.exports_dir.mkdir(parents=True)
    (settings.exports_dir / "givebutter-import-2025-10-01T120000Z.csv").touch()
    assert next_step() == "Some values wait for a decision: `mentor-pipeline conflicts list`."
    synced.upsert("sync_conflicts", conflict("0001", "phone_mismatch", "medium", status="skipped"))
    assert next_step() == "Nothing needs doing."
    synced.append("sync_log", run("failed", NOW, status="failed", error_message="Jotform said no."))
    assert next_step().startswith("The last run failed")
    assert "`mentor-pipeline sync`" in next_step()
    synced.append("sync_log", run("later", NOW, sync_type="export", status="failed", error_message="No."))
    assert "`mentor-pipeline export`" in next_step()
    with synced.writer_lock(year=YEAR, run_id="r", job="sync", by="Ada", wait_s=0, on_wait=lambda *_: None):
        found = reports.status(synced, settings, program(), NOW)
        assert found.next_step.startswith("A run is under way")
        assert found.now_running is not None
        assert "job sync" in found.now_running


def test_what_givebutter_holds_already_does_not_differ(synced: Warehouse, settings: Settings) -> None:
    held = contact(7).row(0, named=True)
    same = {"Givebutter Contact ID": "7", "First Name": held["first_name"], "Last Name": held["last_name"]}
    synced.replace("mn_gb_import", row("mn_gb_import", year=YEAR, mn_id="0001", **same), year=YEAR)
    assert reports.status(synced, settings, program(), NOW).differing == 0
    other = {**same, "Last Name": "Otherwise"}
    synced.replace("mn_gb_import", row("mn_gb_import", year=YEAR, mn_id="0001", **other), year=YEAR)
    assert reports.status(synced, settings, program(), NOW).differing == 1


NO_ANSWER = "no usable answer (ConnectError: refused). Nothing was written. Check the connection, then run it again."

FAULTS = "The year file has faults:\n  year: missing"
OTHERS = "\n".join(
    f"{step}: mentor_pipeline.resources.http._NoAnswerError: {request}: {NO_ANSWER}"
    for step, request in (("raw_mn_funds_setup", "Jotform, GET /form/2"), ("raw_gb_contacts", "Givebutter, GET /x?y=1"))
)


@pytest.mark.parametrize(
    ("stored", "told"),
    [
        (
            f"raw_mn_signups: Jotform, GET /form/1/questions: {NO_ANSWER} It was tried 5 times.\n{OTHERS}",
            f"Jotform: {NO_ANSWER} It was tried 5 times.\nGivebutter: {NO_ANSWER}",
        ),
        ("mentors_mn_id_unique: check mn_id_unique of mentors: Mentor 0042 is there twice.",
         "Mentor 0042 is there twice."),
        (f"before the first step: {FAULTS}", FAULTS),
        ("mentors: polars.exceptions.ShapeError: 2 and 3",
         "A fault of this program, in the step mentors: polars.exceptions.ShapeError: 2 and 3"),
        ("ended without finishing", "It ended without finishing: it was killed, or the machine stopped."),
        ("Jotform said no.", "Jotform said no."),
    ],
)  # fmt: skip
def test_why_the_last_run_failed_is_told_once_and_in_plain_words(
    synced: Warehouse, settings: Settings, stored: str, told: str
) -> None:
    synced.append("sync_log", run("failed", NOW, sync_type="automated", status="failed", error_message=stored))
    failed = reports.status(synced, settings, program(), NOW).last_run
    assert failed is not None
    assert (failed.words, failed.error) == ("scheduled sync", told)


@pytest.mark.parametrize("kind", ["rebuild", "archive", "export"])
def test_only_a_sync_is_the_last_sync(synced: Warehouse, settings: Settings, kind: str) -> None:
    synced.append("sync_log", run("later", NOW, sync_type=kind))
    found = reports.status(synced, settings, program(), NOW)
    assert found.last_sync is not None
    assert found.last_sync.run_id == SECOND


# -- why -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", ["0001", "1", "MN0001", "mn-1", "#0001"])
def test_why_takes_an_id_in_any_spelling(synced: Warehouse, asked: str) -> None:
    assert reports.why(synced, program(), asked).mn_id == "0001"


def test_why_tells_every_candidate_with_its_contact(synced: Warehouse) -> None:
    found = reports.why(synced, program(), "1")
    assert [(row["contact_id"], row["role"]) for row in found.candidates] == [
        (7, "winner"),
        (8, "loser"),
        (9, "rejected"),
    ]
    assert found.candidates[0]["score_parts"] == {"phone": 50, "member": 0}
    assert found.candidates[0]["contact"]["emails"] == contact(7)["emails"].item().to_list()
    assert found.verdict is not None
    assert found.verdict["reason"] == "it leads contact 8"
    assert found.held is None
    assert [conflict["conflict_type"] for conflict in found.conflicts] == ["phone_mismatch"]


def test_why_follows_a_placeholder_to_the_real_id(synced: Warehouse) -> None:
    found = reports.why(synced, program(), "999001")
    assert (found.mn_id, found.asked) == ("0042", "999001")
    assert found.held is not None
    assert found.held["detail"] == "decide it"
    assert found.verdict is None


def test_why_takes_what_only_one_mentor_has(synced: Warehouse) -> None:
    who = mentor("0042").row(0, named=True)
    phone = who["phone"]
    for asked, found_by in (
        (f"{who['first_name']}  {who['last_name']}".upper(), "name"),
        (f"{who['preferred_name']} {who['last_name']}", "name"),
        (who["personal_email"].upper(), "e-mail"),
        (f"({phone[2:5]}) {phone[5:8]}-{phone[8:]}", "phone"),
        ("42", "id"),
    ):
        found = reports.why(synced, program(), asked)
        assert (found.mn_id, found.found_by) == ("0042", found_by)
    assert reports.why(synced, program(), "7").mn_id == "0001"
    synced.replace("mentors", together(mentor("0001", phone=phone), mentor("0042")), year=YEAR)
    with pytest.raises(
        MentorPipelineError, match=r"2 mentors have the phone .*: 0001 \(.*\), 0042 \(.*\)\. Give the id"
    ):
        reports.why(synced, program(), phone)


def test_why_takes_a_contact_that_is_only_a_candidate(synced: Warehouse) -> None:
    def candidate_of(*mn_ids: str) -> pl.DataFrame:
        return together(
            *(
                row("contact_matches", year=YEAR, mn_id=one, contact_id=555, role="rejected", reason="made up")
                for one in mn_ids
            )
        )

    synced.replace("contact_matches", candidate_of("0042"), year=YEAR)
    found = reports.why(synced, program(), "555")
    assert (found.mn_id, found.found_by) == ("0042", "candidate contact")
    synced.replace("contact_matches", candidate_of("0042", "0001"), year=YEAR)
    with pytest.raises(MentorPipelineError, match=r"2 mentors have the candidate contact '555': 0001 .*, 0042 "):
        reports.why(synced, program(), "555")


def test_why_names_whom_a_wrong_id_may_mean(synced: Warehouse) -> None:
    who = mentor("0042").row(0, named=True)
    with pytest.raises(MentorPipelineError, match=rf"Did you mean 0042 \({who['full_name']}\)\?"):
        reports.why(synced, program(), who["last_name"].lower())
    with pytest.raises(MentorPipelineError, match=r"Did you mean 0042 \(.*\)\?"):
        reports.why(synced, program(), "004")
    for asked in ("7777", "0", "a"):
        with pytest.raises(MentorPipelineError, match=rf"No mentor of 2025 has the id, .* '{asked}'\.$"):
            reports.why(synced, program(), asked)


@pytest.mark.parametrize("asked", ["", "  "])
def test_a_mentor_must_be_named(synced: Warehouse, asked: str) -> None:
    with pytest.raises(WrongUseError, match="No mentor was named"):
        reports.why(synced, program(), asked)


# -- changes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ChangeFilter(), ["contact_linked", "field_change", "new_mentor", "new_mentor"]),
        (ChangeFilter(since="1111"), ["contact_linked", "field_change"]),
        (ChangeFilter(since=SECOND), []),
        (ChangeFilter(until="1111"), ["new_mentor", "new_mentor"]),
        (ChangeFilter(since="1111", until="2222"), ["contact_linked", "field_change"]),
        (ChangeFilter(since="2025-10-01T11:00:30Z"), ["contact_linked", "field_change"]),
        (ChangeFilter(since="2025-10-01T11:00"), ["contact_linked", "field_change"]),
        (ChangeFilter(since="2025-10-01T06:30"), ["contact_linked", "field_change", "new_mentor", "new_mentor"]),
        (ChangeFilter(since="2025-10-02"), []),
        (ChangeFilter(mentor="1"), ["contact_linked", "new_mentor"]),
        (ChangeFilter(mentor="999001"), ["field_change", "new_mentor"]),
        (ChangeFilter(types=("field_change",)), ["field_change"]),
        (ChangeFilter(since="1111", only_significant=True), ["contact_linked"]),
    ],
)
def test_changes_are_filtered(synced: Warehouse, wanted: ChangeFilter, expected: list[str]) -> None:
    found = reports.changes(synced, program(), wanted)
    assert sorted(row["change_type"] for row in found.rows) == expected
    assert sum(found.by_type.values()) == len(expected)


def test_changes_are_newest_first_with_names(synced: Warehouse) -> None:
    found = reports.changes(synced, program(), ChangeFilter())
    times = [row["detected_at"] for row in found.rows]
    assert times == sorted(times, reverse=True)
    assert found.rows[0]["full_name"] == mentor("0001")["full_name"].item()


def test_a_moment_that_is_none_is_refused(synced: Warehouse) -> None:
    with pytest.raises(MentorPipelineError, match="neither a run in sync_log nor a time"):
        reports.changes(synced, program(), ChangeFilter(since="yesterday"))
    synced.append("sync_log", run("1111zzzz", NOW))
    with pytest.raises(MentorPipelineError, match="2 runs begin with '1111'"):
        reports.changes(synced, program(), ChangeFilter(since="1111"))


def test_what_can_only_find_nothing_is_refused(synced: Warehouse) -> None:
    with pytest.raises(WrongUseError, match=r"--since .* is later than --until"):
        reports.changes(synced, program(), ChangeFilter(since="2025-10-02", until="2025-10-01"))
    with pytest.raises(WrongUseError, match=r"No change is of type nonsense\. Known types: .*new_mentor"):
        reports.changes(synced, program(), ChangeFilter(types=("new_mentor", "nonsense")))
    with pytest.raises(WrongUseError, match=r"No conflict is of type nonsense\. Known types: contact_selection, data_"):
        reports.conflicts(synced, program(), conflict_type="nonsense")
    with pytest.raises(WrongUseError, match=r"Known types: .*import_refused.*shared_phone"):
        reports.problems(synced, program(), problem_type="nonsense")
    with pytest.raises(WrongUseError, match="There are: error, warning"):
        reports.problems(synced, program(), severity="high")


def test_what_there_can_be_but_is_not_is_no_fault(synced: Warehouse) -> None:
    listed = set(re.findall(r"^\| `(.*)` \|", _section("Errors") + _section("Warnings"), flags=re.MULTILINE))
    documented = {kind for kinds in listed for kind in kinds.split("`, `")} - {"partner_…"}
    assert documented < set(reports.PROBLEM_TYPES)
    for kind in reports.PROBLEM_TYPES:
        assert all(row["type"] == kind for row in reports.problems(synced, program(), problem_type=kind).rows)
    assert reports.problems(synced, program(), problem_type="import_refused").rows == []
    assert reports.conflicts(synced, program(), conflict_type="data_staleness").rows == []


def _section(title: str) -> str:
    text = (Path(__file__).parents[2] / "docs" / "operators.md").read_text(encoding="utf-8")
    return text.split(f"### {title}\n")[1].split("\n#")[0]


# -- conflicts -------------------------------------------------------------------------------------------------------


def test_conflicts_are_listed_most_severe_first(synced: Warehouse) -> None:
    found = reports.conflicts(synced, program())
    assert [row["conflict_type"] for row in found.rows] == ["contact_selection", "phone_mismatch"]
    assert found.rows[0]["option_a"] == {"value": 7, "source": "raw_gb_full_contacts", "name": "Ben Birch"}
    assert found.rows[0]["full_name"] == mentor("0042")["full_name"].item()
    assert len(reports.conflicts(synced, program(), with_status=None).rows) == 3
    assert len(reports.conflicts(synced, program(), with_status="obsolete").rows) == 1
    assert reports.conflicts(synced, program(), conflict_type="email_mismatch").rows == []


def test_one_conflict_by_its_id_or_how_that_begins(synced: Warehouse) -> None:
    wanted = reports.conflicts(synced, program()).rows[0]
    assert reports.conflict(synced, program(), wanted["id"]) == wanted
    short = wanted["id"].removeprefix("conflict-")[:8]
    assert reports.conflict(synced, program(), short)["id"] == wanted["id"]
    with pytest.raises(MentorPipelineError, match="No conflict has the id 'zzzzzz'"):
        reports.conflict(synced, program(), "zzzzzz")
    for short in ("conflict-", wanted["id"].removeprefix("conflict-")[:5]):
        with pytest.raises(MentorPipelineError, match="too short for a conflict's id: 6 characters"):
            reports.conflict(synced, program(), short)
    with pytest.raises(MentorPipelineError, match=f"Mentor 0042 has {wanted['id']}"):
        reports.conflict(synced, program(), "42")


# -- problems --------------------------------------------------------------------------------------------------------


def test_open_problems_are_listed_with_names_errors_first(synced: Warehouse) -> None:
    error = {"year": YEAR, "mn_id": "0042", "type": "invalid_phone", "severity": "error", "resolved": False}
    synced.upsert("sync_errors", row("sync_errors", id="e1", message="no phone", first_seen_at=NOW, **error))
    found = reports.problems(synced, program())
    assert [(one["id"], one["severity"]) for one in found.rows] == [("e1", "error"), ("w1", "warning")]
    assert found.by_type == {"invalid_phone": 1, "shared_phone": 1}
    assert found.rows[0]["full_name"] == mentor("0042")["full_name"].item()
    for wanted, ids in (
        ({"severity": "error"}, ["e1"]),
        ({"severity": "warning"}, ["w1"]),
        ({"problem_type": "shared_phone"}, ["w1"]),
        ({"mentor": "999001"}, ["e1"]),
        ({"mentor": "1"}, []),
    ):
        assert [one["id"] for one in reports.problems(synced, program(), **wanted).rows] == ids


# -- preflight, and all reports --------------------------------------------------------------------------------------


def test_preflight_tells_what_givebutter_would_refuse(synced: Warehouse, tmp_path: Path) -> None:
    synced.upsert("raw_gb_full_contacts", contact(9, external_id="0300", external_mn_id="300"))
    file = tmp_path / "givebutter-import.csv"
    header = '"Givebutter Contact ID","Contact External ID","First Name","Last Name"'
    file.write_text(f'{header}\n"7","0001","Ben","Birch"\n"","0300","Ada","Alder"\n', encoding="utf-8")
    found = reports.preflight(synced, program(), file)
    assert (found.rows, found.refused, found.wrong, found.contacts) == (2, 1, 0, 3)
    assert found.findings[0]["verdict"] == "refused"
    assert (found.findings[0]["external_id"], found.findings[0]["row"]) == ("0300", 3)
    file.write_text(f'{header}\n"7","0001","Ben","Birch"\n"7","0042","Ada","Alder"\n', encoding="utf-8")
    assert reports.preflight(synced, program(), file).wrong == 2
    with pytest.raises(FileRejectedError, match="cannot be read"):
        reports.preflight(synced, program(), tmp_path / "none.csv")


def test_reports_on_nothing_say_so(warehouse: Warehouse) -> None:
    for report in (
        lambda: reports.why(warehouse, program(), "1"),
        lambda: reports.changes(warehouse, program(), ChangeFilter()),
        lambda: reports.conflicts(warehouse, program()),
        lambda: reports.conflict(warehouse, program(), "x"),
        lambda: reports.problems(warehouse, program()),
    ):
        with pytest.raises(NothingSyncedError, match="Run `mentor-pipeline sync`"):
            report()


def test_every_report_has_a_json_form(synced: Warehouse, settings: Settings) -> None:
    found = reports.status(synced, settings, program(), NOW)
    told = json.loads(json_text(found))
    assert told["by_match"][0] == {"status": "conflict", "method": None, "mentors": 1}
    assert datetime.fromisoformat(told["contacts_known_at"]) == NOW - timedelta(hours=1)
    about = json.loads(json_text(reports.why(synced, program(), "1")))
    assert about["mentor"]["amount_raised"] == "0.00"
    assert about["mentor"]["mn_id"] == "0001"
    listed = json.loads(json_text(reports.changes(synced, program(), ChangeFilter())))
    assert datetime.fromisoformat(listed["rows"][0]["detected_at"]).tzinfo == UTC
