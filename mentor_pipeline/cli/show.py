"""How things look in a terminal: tables with names, the reason beside the number, the next step at the end.

Only looks are decided here; what is told comes from `operator`. Foreign text (names, tags, notes) is shown without
control characters, so that no value can steer a terminal.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from mentor_pipeline.operator.inbox import already_imported

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from mentor_pipeline.operator.config_check import Line
    from mentor_pipeline.operator.reports import Changes, Conflicts, Preflight, Status, Why
    from mentor_pipeline.operator.runs import FailedCheck, ImportRun, InboxRun, RunOutcome

CHANGES_SHOWN: Final = 100
CONFLICTS_SHOWN: Final = 50
FINDINGS_SHOWN: Final = 50
_CHECK_ROWS_SHOWN: Final = 5
_WARNINGS_SHOWN: Final = 10
_SECONDS_A_MINUTE: Final = 60

_SEVERITY_STYLES: Final = {"high": "red", "medium": "yellow", "low": "dim"}
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


def labelled(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Rows of labels and values."""
    return [(label.replace("_", " "), plain(value)) for label, value in values.items()]


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
    shown += [_check(check) for check in outcome.failed_checks]
    shown += [Text(f"Warning: {plain(text)}", "yellow") for text in outcome.warnings[:_WARNINGS_SHOWN]]
    if len(outcome.warnings) > _WARNINGS_SHOWN:
        shown.append(Text(f"and {len(outcome.warnings) - _WARNINGS_SHOWN} more warnings", "yellow"))
    return shown


def run_failed(outcome: RunOutcome, command: str) -> str:
    """Why a run failed, what was left as it was, and what to do; `command` is what started it."""
    not_run = [step.name for step in outcome.steps if step.status == "not_run"]
    said = [
        f"{failure.step}: {failure.message}"
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


def _check(check: FailedCheck) -> RenderableType:
    style = "red" if check.severity == "error" else "yellow"
    head = Text(f"{check.severity.capitalize()}: {check.asset}, check {check.check}: {plain(check.description)}", style)
    if not check.rows:
        return head
    rows = [[plain(value) for value in row.values()] for row in check.rows[:_CHECK_ROWS_SHOWN]]
    is_cut = len(check.rows) > _CHECK_ROWS_SHOWN
    tail = [Text(f"The first {_CHECK_ROWS_SHOWN}; more in Dagster's UI and with --json.", "dim")] if is_cut else []
    return Group(head, grid("", list(check.rows[0]), rows), *tail)


def imported(done: ImportRun) -> list[RenderableType]:
    """What a file brought."""
    shown = run(done.outcome)
    if done.ledger is not None and done.ledger["run_id"] != done.outcome.run_id:
        shown.append(Text(f"{done.file}: {already_imported(done.ledger)}", "yellow"))
    elif done.ledger is not None:
        style = "green" if done.ledger["status"] == "completed" else "red"
        shown.append(Text(f"{done.file}: {done.ledger['status']}. {plain(done.ledger['message'])}", style))
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
        shown += imported(one)
    shown += [Text(f"{file.name}: put into {file.folder}/. {plain(file.note)}") for file in done.put_away]
    shown += [Text(f"{file.name}: left there; {plain(file.reason)}", "yellow") for file in done.waiting]
    return shown or [Text("The inbox is empty.")]


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
        shown.append(Text(f"Last sync: {plain(sync.started_at)}, {sync.sync_type}, by {sync.by}, run {sync.run_id}"))
    if found.last_run and found.last_run.status == "failed":
        failed = found.last_run
        shown.append(Text(f"Last run failed: {failed.sync_type} at {plain(failed.started_at)}", "red"))
        shown.append(Text(plain(failed.error), "red"))
    if found.mentors:
        shown += _standing(found)
    shown.append(next_step(found.next_step))
    return shown


def _standing(found: Status) -> list[RenderableType]:
    matched = [(match.status, match.method or "", plain(match.mentors)) for match in found.by_match]
    parts: list[RenderableType] = [
        counts(f"\nMentors: {found.mentors:,}", found.by_status),
        grid("\nTheir contacts", ["", "found by", ">"], matched),
        Text(f"\nImport file: {found.import_rows:,} rows ready, {sum(found.held.values()):,} withheld", "bold"),
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
    parts.append(Text(f"\nContacts: {found.contacts:,} known, as of {plain(found.contacts_known_at) or 'never'}"))
    parts.append(Text(f"Groups of duplicates: {found.duplicate_groups:,}"))
    parts.append(Text(f"Newest import file: {found.newest_export or 'none yet'}"))
    return parts


def why(found: Why) -> list[RenderableType]:
    """Why a mentor is linked as they are."""
    mentor = found.mentor
    alias = f" (asked for as {found.asked})" if found.asked != found.mn_id else ""
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
        text = f"\nUndecided: {conflict['conflict_type']}, `mentor-pipeline conflicts show {conflict['id']}`"
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
        scored = (row["score_parts"] or {}).items()
        parts = " + ".join(f"{part.replace('_', ' ')} {points:g}" for part, points in scored if points)
        facts.append(("score", f"{parts or '0'} = {row['score']:g}; {row['completeness']} % complete"))
    fate = "undecided" if row["is_undecided"] else row["role"]
    head = Text.assemble((fate, _ROLE_STYLES[fate]), f"  {row['contact_id']}  {plain(name)}")
    return [head, Padding(grid("", ["", ""], [fact for fact in facts if fact[1]]), (0, 0, 0, 2))]


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


def conflicts(found: Conflicts) -> list[RenderableType]:
    """What waits for a decision."""
    if not found.rows:
        return [Text(f"No {found.status} conflicts." if found.status else "No conflicts.")]
    rows = [
        (
            Text(row["severity"], _SEVERITY_STYLES.get(row["severity"], "")),
            row["id"],
            f"{row['mn_id']} {plain(row['full_name'])}".strip(),
            row["conflict_type"],
            _short_option(row["option_a"]),
            _short_option(row["option_b"]),
            row["recommended_option"] or "",
            *([] if found.status else [row["status"]]),
        )
        for row in found.rows[:CONFLICTS_SHOWN]
    ]
    columns = ["", "id", "mentor", "about", "a", "b", "recommended", *([] if found.status else ["status"])]
    shown: list[RenderableType] = [grid(number(len(found.rows), "conflict"), columns, rows)]
    if len(found.rows) > CONFLICTS_SHOWN:
        shown.append(Text(f"and {len(found.rows) - CONFLICTS_SHOWN:,} more (--json gives all)", "dim"))
    shown.append(next_step("see one whole with `mentor-pipeline conflicts show ID`."))
    return shown


def _short_option(option: Mapping[str, Any]) -> str:
    value = option["value"]
    if "what" in option:
        return plain(option["what"])
    name = option.get("name")
    return lines(identifier(value), name) if name else plain(value)


def conflict(row: Mapping[str, Any]) -> list[RenderableType]:
    """One conflict, its options side by side."""
    option_a, option_b = row["option_a"], row["option_b"]
    labels = list(dict.fromkeys([*option_a, *option_b]))
    sides = [(label.replace("_", " "), _side(label, option_a), _side(label, option_b)) for label in labels]
    shown: list[RenderableType] = [
        Text(f"{row['conflict_type']} of {plain(row['full_name'])}, mentor {row['mn_id']}", "bold"),
        Text(
            f"{row['id']}, {row['status']}, severity {row['severity']}, first seen {plain(row['detected_at'])}", "dim"
        ),
        grid("", ["", "a", "b"], sides),
    ]
    if row["context"]:
        shown.append(grid("\nAbout it", ["", ""], labelled(row["context"])))
    if row["recommended_option"]:
        shown.append(Text(f"\nRecommended: {row['recommended_option']}", "green"))
    if row["recommendation_reason"]:
        shown.append(Text(plain(row["recommendation_reason"])))
    if row["user_decision"]:
        decided = f"\nDecided: {row['user_decision']} by {row['resolved_by']} at {plain(row['resolved_at'])}"
        shown.append(Text(decided, "bold"))
    return shown


def _side(label: str, option: Mapping[str, Any]) -> str:
    value = option.get(label)
    return identifier(value) if label == "value" else plain(value)


def preflight(found: Preflight) -> list[RenderableType]:
    """What Givebutter will say to a file."""
    verdict = (
        Text(f"Givebutter would refuse {found.refused:,} of {found.rows:,} rows of {found.file}.", "bold red")
        if found.refused
        else Text(f"Givebutter should take all {found.rows:,} rows of {found.file}.", "bold green")
    )
    shown: list[RenderableType] = [verdict]
    if found.unknown_columns:
        text = (
            f"Not judged, since neither the template nor the year file has them: {plain(list(found.unknown_columns))}"
        )
        shown.append(Text(text, "yellow"))
    rows = [
        (
            plain(row["line"]),
            Text(row["verdict"], "red" if row["verdict"] == "refused" else "yellow"),
            f"{plain(row['external_id'])} {plain(row['name'])}".strip(),
            plain(row["column"]),
            lines(row["words"], row["detail"]),
        )
        for row in found.findings[:FINDINGS_SHOWN]
    ]
    if rows:
        shown.append(grid("", ["line>", "", "who", "column", "why"], rows))
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
