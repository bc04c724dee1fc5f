"""How things look in a terminal: tables with names, the reason beside the number, the next step at the end.

Only looks are decided here; what is told comes from `operator`. Foreign text (names, tags, notes) is shown without
control characters, so that no value can steer a terminal.
"""

from __future__ import annotations

import re
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mentor_pipeline.cli import hints

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from rich.console import RenderableType

    from mentor_pipeline.operator.config_check import Line
    from mentor_pipeline.operator.inbox import DoneWith
    from mentor_pipeline.operator.reports import Changes, Conflicts, Preflight, Problems, Status, Why
    from mentor_pipeline.operator.runs import FailedCheck, ImportRun, InboxRun, RunOutcome

CHANGES_SHOWN: Final = 100
CONFLICTS_SHOWN: Final = 50
FINDINGS_SHOWN: Final = 50
PROBLEMS_SHOWN: Final = 100
SHORT_ID: Final = 8
"""Characters of a conflict's id, behind `conflict-`, that are shown and enough to name it."""
_CHECK_ROWS_SHOWN: Final = 5
_WARNINGS_SHOWN: Final = 10
_HELD: Final = "mn_gb_import_held"
_SECONDS_A_MINUTE: Final = 60
_MENTOR_WIDTH: Final = 25
"""Beside it, an id and a value fit into 80 columns."""

_PROBLEM_STYLES: Final = {"error": "red", "warning": "yellow"}
_SOURCES: Final = {"raw_gb_full_contacts": "Givebutter", "rules": ""}
_LABELS: Final = {"last_modified_at": "modified", "changed_at": "changed", "completeness": "complete"}
_VALUES: Final = {
    "contact_selection": "contact",
    "external_id_collision": "contact",
    "phone_mismatch": "phone",
    "email_mismatch": "e-mail",
    "phone": "phone",
    "personal_email": "e-mail",
    "uga_email": "e-mail",
}
"""What a conflict's options are values of: by its type, else by the field in its context."""
_ROLE_STYLES: Final = {"winner": "green", "undecided": "bold yellow", "loser": "yellow", "rejected": "dim"}


# -- small parts ----------------------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """A value as text: no control characters, times to the minute, nothing for nothing."""
    match value:
        case None:
            text = ""
        case bool():
            text = "yes" if value else "no"
        case datetime():
            text = f"{value:%Y-%m-%d %H:%M} UTC"
        case int():
            text = f"{value:,}"
        case list() | tuple():
            text = ", ".join(map(plain, value))
        case dict():
            text = ", ".join(f"{key} {plain(part)}" for key, part in value.items())
        case _:
            text = "".join(letter if letter.isprintable() else " " for letter in str(value))
    return text


def identifier(value: object) -> str:
    """An id as it is written everywhere else: without separators."""
    return "" if value is None else str(value)


def lines(*texts: object) -> str:
    """The texts that there are, below each other."""
    return "\n".join(filter(None, (plain(text) for text in texts)))


def grid(title: str, columns: Sequence[str], rows: Iterable[Sequence[RenderableType]]) -> RenderableType:
    """A table below its title; a column whose name ends in `>` is set to the right, an `id` is never broken."""
    table = Table(header_style="dim", box=None, pad_edge=False, show_header=any(name.rstrip(">") for name in columns))
    for column in columns:
        table.add_column(
            column.rstrip(">"),
            justify="right" if column.endswith(">") else "left",
            overflow="fold",
            no_wrap=column == "id",
        )
    for row in rows:
        table.add_row(*row)
    # Not the table's own title: that one is broken to the width of the columns.
    return Group(Text(title, "bold"), table) if title else table


def counts(title: str, counted: Mapping[str, int]) -> RenderableType:
    """Numbers by kind."""
    if not counted:
        return Text.assemble((title, "bold"), ": none")
    return grid(title, ["", ">"], [(plain(kind), plain(number)) for kind, number in counted.items()])


def number(count: int, thing: str) -> str:
    """`1 conflict`, `2 conflicts`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def next_step(text: str) -> Text:
    """What to do now."""
    return Text.assemble(("\nNext: ", "bold"), text)


def duration(seconds: float) -> str:
    """`4.2 s`, or `2 min 05 s`."""
    if seconds < _SECONDS_A_MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _SECONDS_A_MINUTE)
    return f"{minutes} min {rest:02d} s"


# -- runs -----------------------------------------------------------------------------------------------------------


def run(outcome: RunOutcome) -> list[RenderableType]:
    """What a run did, what it could not do and what it warns of."""
    done = sum(step.status == "done" for step in outcome.steps)
    head = f"{outcome.job}: {done} of {len(outcome.steps)} steps in {duration(outcome.seconds)}, run {outcome.run_id}"
    shown: list[RenderableType] = [Text(head, "bold green" if outcome.success else "bold red")]
    if tables := _tables(outcome):
        shown.append(tables)
    shown += found_by_checks(outcome)
    shown += [Text(f"Warning: {plain(text)}", "yellow") for text in outcome.warnings[:_WARNINGS_SHOWN]]
    if len(outcome.warnings) > _WARNINGS_SHOWN:
        shown.append(Text(f"and {len(outcome.warnings) - _WARNINGS_SHOWN} more warnings", "yellow"))
    return shown


def found_by_checks(outcome: RunOutcome) -> list[RenderableType]:
    """What checks found, one line each, the rows of errors only; and where the other rows are."""
    shown = [_check(check) for check in outcome.failed_checks]
    if shown:
        where = (
            "Whom that concerns: `mentor-pipeline problems` and `conflicts list`, --json, or Checks in Dagster's UI."
        )
        shown.append(Text(where, "dim"))
    return shown


def run_failed(outcome: RunOutcome, command: str) -> str:
    """Why a run failed, what was left as it was, and what to do; `command` is what started it."""
    not_run = [step.name for step in outcome.steps if step.status == "not_run"]
    said = [
        failure.message
        if failure.is_expected and failure.message.startswith(f"{failure.step}: ")
        else f"{failure.step}: {failure.message}"
        if failure.is_expected
        else f"{failure.step}: unexpected error, {failure.message} (its traceback is in Dagster's UI, run "
        f"{outcome.run_id})"
        for failure in outcome.failures
    ]
    said += [
        f"{check.asset}: check {check.check} stopped the run: {check.description}"
        for check in outcome.failed_checks
        if check.is_blocking
    ]
    if outcome.is_interrupted:
        said.insert(0, f"{outcome.job} was stopped by you. Steps that were done stay; the others changed nothing.")
    if not_run:
        said.append(f"Not run, so left as they were: {', '.join(not_run)}.")
    then = "To finish" if outcome.is_interrupted else "Put that right and"
    said.append(f"{then} run `mentor-pipeline {command}` again; nothing is done twice.")
    return "\n".join(said)


def _tables(outcome: RunOutcome) -> RenderableType | None:
    rows = [
        (
            table,
            plain(count),
            plain(step.written.get(table, "")),
            "" if step.seconds is None else f"{step.seconds:.1f} s",
        )
        for step in outcome.steps
        for table, count in step.rows.items()
    ]
    return grid("", ["table", "rows>", "rows written>", "step took>"], rows) if rows else None


def _headline(description: str) -> str:
    """`2 mentors are held.` of `2 mentors are held: Ada Elm, Ben Birch. Decide ...`."""
    return f"{re.split(r': |[.] ', description, maxsplit=1)[0].rstrip('.')}."


def _check(check: FailedCheck) -> RenderableType:
    if check.severity == "warning":
        return Text(f"Warning: {_headline(plain(check.description))}", "yellow")
    head = Text(f"Error: {check.asset}, check {check.check}: {plain(check.description)}", "red")
    if not check.rows:
        return head
    rows = [[plain(value) for value in row.values()] for row in check.rows[:_CHECK_ROWS_SHOWN]]
    is_cut = len(check.rows) > _CHECK_ROWS_SHOWN
    tail = [Text(f"The first {_CHECK_ROWS_SHOWN} of them.", "dim")] if is_cut else []
    return Group(head, grid("", list(check.rows[0]), rows), *tail)


def export(outcome: RunOutcome, file: Mapping[str, Any], *, messages: bool) -> list[RenderableType]:
    """What was written, who is not in it, and what to do with it."""
    if not outcome.success:
        return run(outcome)
    paths = ", ".join(file["paths"])
    shown: list[RenderableType] = [
        Text(f"export: done in {duration(outcome.seconds)}, run {outcome.run_id}", "bold green"),
        Text(plain(file["message"])),
    ]
    shown += [Text(f"Warning: {plain(text)}", "yellow") for text in file["warnings"]]
    shown += [_check(check) for check in outcome.failed_checks if check.asset != _HELD]  # the message has them
    if not paths:
        nothing = "Nothing needs loading into the texting platform." if messages else "Nothing needs importing."
        return [*shown, Text(f"\n{nothing}", "bold")]
    shown.append(Text(paths))
    again = ", unless that was done before" if file["unchanged"] else ""
    step = (
        f"load it into the texting platform{again}."
        if messages
        else f"import it in Givebutter (Contacts, Import){again}; then `mentor-pipeline sync`."
    )
    return [*shown, next_step(step)]


def imported(done: ImportRun) -> list[RenderableType]:
    """What a file brought; nothing of one that was rejected, which `run_failed` or `rejected` tells."""
    from mentor_pipeline.operator.inbox import already_imported

    if done.is_repeat and done.ledger is not None:
        return [Text(f"{done.file}: {already_imported(done.ledger)}", "yellow")]
    shown = run(done.outcome)
    if done.ledger is not None and done.ledger["run_id"] != done.outcome.run_id:
        shown.append(Text(f"{done.file}: {already_imported(done.ledger)}", "yellow"))
    elif done.ledger is not None and done.ledger["status"] == "completed":
        shown.append(Text(f"{done.file}: completed. {plain(done.ledger['message'])}", "green"))
        told = {
            label.replace("_", " "): done.ledger[label]
            for label in ("mentors_matched", "new_contact_ids_captured", "duplicates_detected")
            if done.ledger[label] is not None
        }
        if told:
            shown.append(counts("", told))
    return shown


def inbox(done: InboxRun) -> list[RenderableType]:
    """What was done with every file of the inbox."""
    shown: list[RenderableType] = []
    for one in done.imported:
        if not is_rejected(one):
            shown += imported(one)
    shown += [Text(put_away(file)) for file in done.put_away if file.folder != "rejected"]
    shown += [Text(f"{file.name}: left there; {plain(file.reason)}", "yellow") for file in done.waiting]
    return shown or ([] if done.imported or done.put_away else [Text("The inbox is empty.")])


def put_away(file: DoneWith) -> str:
    """What was done with a file of the inbox that needed no import."""
    note = plain(file.note).removeprefix(f"{plain(file.name)}: ")
    return f"{plain(file.name)}: put into {file.folder}/. {note}"


def is_rejected(done: ImportRun) -> bool:
    """True when the file itself is what failed: trying again would not help."""
    return done.ledger is not None and done.ledger["status"] == "rejected"


def rejected(done: ImportRun) -> str:
    """Why a file was rejected, and where it is now."""
    why = plain(done.ledger["message"]) if done.ledger else ""
    told = why if why.startswith(done.file) else f"{done.file}: {why}"
    return f"{told} It is in {done.put_into} now." if done.put_into else told


# -- reports --------------------------------------------------------------------------------------------------------


def status(found: Status) -> list[RenderableType]:
    """How things stand."""
    shown: list[RenderableType] = [
        Text(f"Program year {found.year}", "bold"),
        Text(f"{found.warehouse}\nData folder {found.data_dir}", "dim"),
    ]
    if found.now_running:
        shown.append(Text(f"Running now: {found.now_running}", "yellow"))
    if found.last_sync:
        sync = found.last_sync
        shown.append(Text(f"Last {sync.words}: {plain(sync.started_at)}, by {sync.by}, run {sync.run_id}"))
    if found.last_run and found.last_run.status == "failed":
        failed = found.last_run
        shown.append(Text(f"Last run failed: {failed.words} at {plain(failed.started_at)}, by {failed.by}", "red"))
        shown.append(Text(plain_lines(failed.error or ""), "red"))
    shown += [Text(left_scans(kept), "yellow") for kept in found.scans]
    if found.mentors:
        shown += _standing(found)
    shown.append(next_step(found.next_step))
    return shown


def left_scans(file: Path) -> str:
    """What to do with the ids of a check-in that are not recorded."""
    undo = ["--undo"] if "undo" in file.name else []
    return (
        f"{file} holds ids that are not recorded: another check-in is open now, or was broken off. If it was broken "
        f"off, record them with `{hints.command('check-in', '--file', str(file), *undo)}`."
    )


def _standing(found: Status) -> list[RenderableType]:
    matched = [(match.status, match.method or "", plain(match.mentors)) for match in found.by_match]
    parts: list[RenderableType] = [
        counts(f"\nMentors: {found.mentors:,}", found.by_status),
        grid("\nTheir contacts", ["", "found by", ">"], matched),
        Text(
            f"\nImport file: {number(found.import_rows, 'mentor')} can be sent, {found.differing:,} differ from "
            f"Givebutter; {sum(found.held.values()):,} withheld",
            "bold",
        ),
    ]
    for title, counted in (
        ("", found.held),
        ("\nConflicts to decide", found.conflicts),
        ("\nErrors", found.errors),
        ("\nWarnings", found.warnings),
        ("\nChanged by the last sync", found.changes),
    ):
        if counted:
            parts.append(counts(title, counted))
        if title == "\nWarnings" and (found.errors or found.warnings):
            parts.append(Text("Whom they concern, and what to do: `mentor-pipeline problems`.", "dim"))
    parts.append(Text(f"\nContacts: {found.contacts:,} known, as of {plain(found.contacts_known_at) or 'never'}"))
    parts.append(Text(f"Groups of duplicates: {found.duplicate_groups:,}"))
    parts.append(Text(f"Newest import file: {found.newest_export or 'none yet'}"))
    return parts


def why(found: Why) -> list[RenderableType]:
    """Why a mentor is linked as they are."""
    mentor = found.mentor
    how = "asked for as" if found.found_by == "id" else f"found by the {found.found_by}"
    alias = f" ({how} {plain(found.asked)})" if found.asked != found.mn_id else ""
    shown: list[RenderableType] = [
        Text(f"{plain(mentor['full_name'])}, mentor {found.mn_id} of {found.year}{alias}", "bold"),
        Text(lines(mentor["phone"], mentor["personal_email"], mentor["uga_email"], mentor["status_text"])),
    ]
    if found.verdict:
        verdict = found.verdict
        contact = identifier(verdict["gb_contact_id"])
        by = f", by {verdict['gb_match_method'].replace('_', ' ')}" if verdict["gb_match_method"] else ""
        head = f"Contact {contact}" if contact else "No contact yet"
        shown.append(Text(f"\n{head}: {verdict['gb_match_status']}{by}", "bold"))
        shown.append(Text(plain(verdict["reason"])))
    if found.candidates:
        shown.append(Text("\nCandidates, the best first", "bold"))
        for row in found.candidates:
            shown += _candidate(row)
    else:
        shown.append(Text("\nNo contact has this mentor's id, phone or e-mail."))
    for conflict in found.conflicts:
        text = f"\nUndecided: {conflict['conflict_type']}, `mentor-pipeline conflicts show {short_id(conflict['id'])}`"
        shown.append(Text(text, "yellow"))
    if found.held:
        shown.append(Text(f"\nWithheld from the import file: {found.held['reason']}", "yellow"))
        shown.append(Text(plain(found.held["detail"])))
    return shown


def _candidate(row: Mapping[str, Any]) -> list[RenderableType]:
    """A candidate's fate and why, who it is, what it has in common with the mentor, and how its score adds up."""
    contact = row["contact"] or {}
    name = " ".join(filter(None, (contact.get("first_name"), contact.get("last_name")))) or "no name"
    external_id = contact.get("external_id")
    gone = "archived" if contact.get("archived_at") else "no longer there" if contact.get("missing_since") else ""
    who = [f"external id {external_id}" if external_id else "", gone, *(contact.get("emails") or [])]
    who += contact.get("phones") or []
    shared = ", ".join(kind.replace("_", " ") for kind in row["matched_on"])
    facts = [
        ("", plain(row["reason"])),
        ("has", ", ".join(filter(None, map(plain, who)))),
        ("in common", shared or "nothing"),
    ]
    if row["score"] is not None:
        facts.append(("score", f"{_sum_of(row['score_parts'], row['score'])}; {row['completeness']} % complete"))
    fate = "undecided" if row["is_undecided"] else row["role"]
    head = Text.assemble((fate, _ROLE_STYLES[fate]), f"  {row['contact_id']}  {plain(name)}")
    return [head, Padding(grid("", ["", ""], [fact for fact in facts if fact[1]]), (0, 0, 0, 2))]


def _sum_of(parts: Mapping[str, float] | None, score: float) -> str:
    """How a score adds up: `campaign tag 500 + phone 50 = 550`."""
    added = " + ".join(f"{part.replace('_', ' ')} {points:g}" for part, points in (parts or {}).items() if points)
    return f"{added or '0'} = {score:g}"


def changes(found: Changes) -> list[RenderableType]:
    """What changed."""
    if not found.rows:
        return [Text("Nothing changed.")]
    span = " ".join(
        [f"after {plain(found.since)}" if found.since else "", f"until {plain(found.until)}" if found.until else ""]
    ).strip()
    rows = [
        (
            plain(row["detected_at"]),
            f"{row['mn_id']} {plain(row['full_name'])}".strip(),
            Text(row["change_type"], "bold" if row["is_significant"] else ""),
            plain(row["field_name"]),
            plain(row["old_value"]),
            plain(row["new_value"]),
        )
        for row in found.rows[:CHANGES_SHOWN]
    ]
    shown: list[RenderableType] = [
        grid(
            f"{number(len(found.rows), 'change')} {span}".strip(),
            ["seen", "mentor", "what", "field", "before", "after"],
            rows,
        )
    ]
    if len(found.rows) > CHANGES_SHOWN:
        shown.append(Text(f"and {len(found.rows) - CHANGES_SHOWN:,} older ones (--json gives all)", "dim"))
    shown.append(counts("\nBy type", found.by_type))
    return shown


def conflicts(found: Conflicts, *, everything: bool = False) -> list[RenderableType]:
    """What waits for a decision, or was decided how and by whom, by type; the recommended option has a star."""
    if not found.rows:
        of_type = f" of type {found.conflict_type}" if found.conflict_type else ""
        return [Text(f"No {found.status} conflicts{of_type}." if found.status else f"No conflicts{of_type}.")]
    shown: list[RenderableType] = []
    listed = found.rows if everything else found.rows[:CONFLICTS_SHOWN]
    for kind, rows in groupby(listed, key=lambda row: str(row["conflict_type"])):
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(max_width=_MENTOR_WIDTH)
        table.add_column(overflow="fold")
        for row in rows:
            status = "" if found.status else row["status"]
            options = lines(*(_short_option(row, choice) for choice in ("a", "b")), _decided(row))
            table.add_row(lines(short_id(row["id"]), status), _whose(row), options)
        space = "\n" if shown else ""
        shown += [Text(f"{space}{kind}: {found.by_type[kind]:,}", "bold"), table]
    if len(found.rows) > len(listed):
        shown.append(Text(f"and {len(found.rows) - len(listed):,} more (--all shows them)", "dim"))
    if any(row["recommended_option"] for row in listed):
        shown.append(Text("\n* recommended", "dim"))
    shown.append(next_step("see one whole with `mentor-pipeline conflicts show ID`."))
    return shown


def short_id(conflict_id: str) -> str:
    """How a conflict's id begins: enough to name it in every command."""
    return conflict_id.removeprefix("conflict-")[:SHORT_ID]


def _whose(row: Mapping[str, Any]) -> str:
    return f"{row['mn_id'] or ''} {plain(row['full_name'])}".strip()


def _decided(row: Mapping[str, Any]) -> str:
    """How a conflict was decided, by whom and when; nothing of one that was not."""
    if not row["user_decision"] and row["resolved_by"] is None:
        return ""
    how = row["user_decision"] or ("left as it is" if row["status"] == "skipped" else row["status"])
    value = f" {identifier(row['custom_value'])}" if row["custom_value"] else ""
    by = f" by {row['resolved_by']}" if row["resolved_by"] else ""
    return f"Decided: {how}{value}{by} at {plain(row['resolved_at'])}"


def _short_option(row: Mapping[str, Any], choice: str) -> str:
    option = row[f"option_{choice}"]
    mark = "*" if row["recommended_option"] == choice else " "
    name = plain(option.get("name")) if _VALUES.get(row["conflict_type"]) == "contact" else ""
    about = plain(option["what"]) if "what" in option else f"{identifier(option['value'])} {name}"
    return f"{choice}{mark} {about}".rstrip()


def conflict(row: Mapping[str, Any]) -> list[RenderableType]:
    """One conflict, its options side by side."""
    kind = _VALUES.get(row["conflict_type"]) or _VALUES.get((row["context"] or {}).get("field", ""), "value")
    option_a, option_b = (_told_of_option(row[name], kind) for name in ("option_a", "option_b"))
    labels = sorted(dict.fromkeys([*option_a, *option_b]), key=lambda label: label != kind)
    sides = [(label, option_a.get(label, ""), option_b.get(label, "")) for label in labels]
    shown: list[RenderableType] = [
        Text(f"{row['conflict_type']} of {plain(row['full_name'])}, mentor {row['mn_id']}", "bold"),
        Text(
            f"{row['id']}, {row['status']}, severity {row['severity']}, first seen {plain(row['detected_at'])}", "dim"
        ),
        grid("", ["", "a", "b"], sides),
    ]
    about = [(label.replace("_", " "), _told(label, value)) for label, value in (row["context"] or {}).items()]
    if about := [fact for fact in about if fact[1]]:
        shown.append(grid("\nAbout it", ["", ""], about))
    if row["recommended_option"]:
        shown.append(Text(f"\nRecommended: {row['recommended_option']}", "green"))
    if row["recommendation_reason"]:
        shown.append(Text(plain(row["recommendation_reason"])))
    if decided := _decided(row):
        shown.append(Text(f"\n{plain(decided)}", "bold"))
    return shown


def _told_of_option(option: Mapping[str, Any], kind: str) -> dict[str, str]:
    """What an option says, by label; what is not there is left out."""
    labels = {"value": kind, **_LABELS}
    told = {labels.get(part, part.replace("_", " ")): _told(part, value) for part, value in option.items()}
    if "what" in option and not str(option["value"]).isdecimal():
        del told[kind]  # `what` says it in words
    if option.get("score_parts") and option.get("score") is not None:
        told["score"] = _sum_of(option["score_parts"], option["score"])
        del told["score parts"]
    return {label: text for label, text in told.items() if text}


def _told(label: str, value: object) -> str:
    """A value of a conflict in an operator's words: ids as they are written elsewhere, no names of tables."""
    if label == "value" or label.endswith("_id"):
        return identifier(value)
    if label == "source":
        return _SOURCES.get(str(value), plain(value))
    if label.endswith("_at") and isinstance(value, str):
        return plain(datetime.fromisoformat(value))
    if label == "completeness":
        return f"{value} %"
    if label in {"matched_on", "field"}:
        return plain(value).replace("_", " ")
    return plain(value)


def problems(found: Problems, *, everything: bool = False) -> list[RenderableType]:
    """What is wrong, by type: how many, and each with whom, what and since when."""
    if not found.rows:
        return [Text(f"No open errors or warnings{f' of type {found.problem_type}' if found.problem_type else ''}.")]
    listed = found.rows if everything else found.rows[:PROBLEMS_SHOWN]
    shown: list[RenderableType] = [counts(f"{len(found.rows):,} open errors and warnings", found.by_type)]
    for (severity, kind), rows in groupby(listed, key=lambda row: (str(row["severity"]), str(row["type"]))):
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column(max_width=_MENTOR_WIDTH)
        table.add_column(overflow="fold")
        for row in rows:
            table.add_row(_whose(row), f"{plain(row['message'])} Since {plain(row['first_seen_at'])}.")
        style = _PROBLEM_STYLES.get(severity, "")
        shown += [Text.assemble("\n", (severity, style), (f"  {kind}", "bold")), table]
    if len(found.rows) > len(listed):
        shown.append(Text(f"and {len(found.rows) - len(listed):,} more (--all shows them)", "dim"))
    return shown


def preflight(found: Preflight) -> list[RenderableType]:
    """What Givebutter will say to a file."""
    faults = [f"refuse {found.refused:,}"] if found.refused else []
    faults += [f"take {found.wrong:,} wrongly"] if found.wrong else []
    shown: list[RenderableType] = [
        Text(f"{found.file}, {number(found.rows, 'row')}: Givebutter would {' and '.join(faults)}.", "bold red")
        if faults
        else Text(f"{found.file}, {number(found.rows, 'row')}: Givebutter should take all.", "bold green")
    ]
    if found.unknown_columns:
        text = (
            f"Not judged, since neither the template nor the year file has them: {plain(list(found.unknown_columns))}"
        )
        shown.append(Text(text, "yellow"))
    if found.mapped_columns:
        chosen = ", ".join(f"{plain(label)} -> {column}" for label, column in found.mapped_columns.items())
        shown.append(Text(f"Choose in Givebutter's mapping step: {chosen}", "yellow"))
    rows = [
        (
            identifier(row["row"]),
            Text(row["verdict"], "red" if row["verdict"] == "refused" else "yellow"),
            f"{plain(row['external_id'])} {plain(row['name'])}".strip(),
            plain(row["column"]),
            lines(row["words"], row["detail"]),
        )
        for row in found.findings[:FINDINGS_SHOWN]
    ]
    if rows:
        shown.append(grid("", ["row>", "", "who", "column", "why"], rows))
    if len(found.findings) > FINDINGS_SHOWN:
        shown.append(Text(f"and {len(found.findings) - FINDINGS_SHOWN:,} more (--json gives all)", "dim"))
    known = f"as of {plain(found.contacts_known_at)}" if found.contacts_known_at else "but no contacts are known yet"
    shown.append(Text(f"Judged against {found.contacts:,} contacts, {known}.", "dim"))
    return shown


def checked(found: Sequence[Line]) -> list[RenderableType]:
    """What was checked of an installation."""
    rows = [
        (Text(line.result, "green" if line.result == "ok" else "bold red"), line.checked, plain_lines(line.words))
        for line in found
    ]
    faults = sum(line.result == "fault" for line in found)
    end = f"{number(faults, 'fault')}. Put that right and run `mentor-pipeline config check` again." if faults else ""
    return [grid("", ["", "checked", ""], rows), next_step(end or "`mentor-pipeline sync`.")]


def plain_lines(text: str) -> str:
    """Text of several lines, each without control characters."""
    return "\n".join(plain(line) for line in text.splitlines())
