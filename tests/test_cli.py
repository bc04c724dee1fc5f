"""The command line as a person and a script meet it: exit codes, messages, one JSON document, no traceback."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from mentor_pipeline.cli import decide, jobs, look, show, upkeep  # noqa: F401 - they add their commands to `app`
from mentor_pipeline.cli.app import LOG_NAME, _tell_unexpected, app
from mentor_pipeline.cli.terminal import Terminal
from mentor_pipeline.domain.findings import Conflict, conflict_rows
from mentor_pipeline.operator.runs import FailedCheck, RunOutcome
from mentor_pipeline.resources.duckdb_warehouse import DuckDBWarehouse
from mentor_pipeline.settings import GIVEBUTTER_KEY, JOTFORM_KEY, packaged_config_dir
from mentor_pipeline.simulator import Simulator, World
from tests.builders import NOW, YEAR, contact, mentor, program, row
from tests.small_year import store_small_year

if TYPE_CHECKING:
    from typer.testing import Result


ROOT = Path(__file__).parents[1]
MAIN = "from mentor_pipeline.cli import main; main()"


@pytest.fixture(autouse=True)
def installed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation of its own: no keys, an empty data folder, whatever this machine is set to."""
    for name in list(os.environ):
        if name.startswith(("MENTOR_PIPELINE_", "JOTFORM_", "GIVEBUTTER_", "DAGSTER_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("MENTOR_PIPELINE_DATA_DIR", str(data_dir))
    monkeypatch.setenv("MENTOR_PIPELINE_YEAR", str(YEAR))
    for key in (JOTFORM_KEY, GIVEBUTTER_KEY):
        monkeypatch.setenv(key, "")  # empty: a `.env` of this machine does not fill it


@pytest.fixture
def synced(data_dir: Path) -> DuckDBWarehouse:
    warehouse = DuckDBWarehouse(data_dir / "mentors.duckdb")
    store_small_year(warehouse)
    return warehouse


def call(*words: str) -> Result:
    """A command in this process."""
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def process(
    *words: str, code: str = "from mentor_pipeline.cli import main; main()"
) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, as a shell would start it."""
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603


# -- the frame -------------------------------------------------------------------------------------------------------


def test_help_names_every_command_and_the_exit_codes() -> None:
    shown = process("--help")
    assert shown.returncode == 0
    for name in (
        "demo", "dev", "sync", "contact-refresh", "inbox", "import-contacts", "import-failures", "rebuild", "export",
        "preflight", "status", "why", "changes", "problems", "conflicts", "config", "edit", "check-in", "history",
        "as-of", "duplicates", "archive", "release", "tags", "outreach",
    ):  # fmt: skip
        assert name in shown.stdout
    assert "Exit codes" in shown.stdout


@pytest.mark.parametrize("words", [["nope"], ["why"], ["status", "--nope"], ["export", "--split", "0"]])
def test_wrong_use_is_one_json_document_too(words: list[str]) -> None:
    done = process(*words, "--json")
    assert done.returncode == 2
    document = json.loads(done.stdout)
    assert document["ok"] is False
    assert document["error"]


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from mentor_pipeline.cli import jobs, look, upkeep\n"
        "print([name for name in ('dagster', 'polars', 'duckdb', 'httpx', 'pydantic') if name in sys.modules])"
    )
    assert process(code=code).stdout.strip() == "[]"


def test_the_package_runs_as_a_module(tmp_path: Path) -> None:
    shown = process("status", code="import runpy; runpy.run_module('mentor_pipeline', run_name='__main__')")
    assert shown.returncode == 0
    assert "Nothing has been synced yet" in shown.stdout


@pytest.mark.parametrize(
    ("words", "expected", "said"),
    [
        (["bogus"], 2, "No such command"),
        (["status", "--bogus"], 2, "No such option"),
        (["why"], 2, "Missing argument"),
        (["import-contacts", "there-is-none.csv"], 2, "does not exist"),
        (["export", "--split", "0"], 2, "--split"),
        (["conflicts", "list", "--status", "nonsense"], 2, "pending"),
        (["export", "--out", "there-is-none/import.csv"], 2, "There is no folder"),
        (["export", "--status", "nonsense"], 2, "No mentor has the status nonsense. There are: dropped"),
        (["export", "--shift", "nonsense"], 2, "No mentor has the shift nonsense"),
        (["why", " "], 2, "No mentor was named"),
        (["problems", "--severity", "high"], 2, "There are: error, warning"),
        (["sync"], 2, "JOTFORM_API_KEY (the Jotform key) and GIVEBUTTER_API_KEY (the Givebutter key) are not set"),
        (["contact-refresh"], 2, "GIVEBUTTER_API_KEY (the Givebutter key) is not set"),
        (["why", "0042"], 1, "Nothing has been synced yet"),
        (["changes"], 1, "Nothing has been synced yet"),
        (["problems"], 1, "Nothing has been synced yet"),
        (["conflicts", "show", "x"], 1, "Nothing has been synced yet"),
    ],
)
def test_exit_codes(words: list[str], expected: int, said: str, data_dir: Path) -> None:
    result = call(*words)
    assert result.exit_code == expected
    assert said in " ".join(result.stderr.replace("│", " ").split())
    assert result.stdout == ""
    assert not data_dir.exists()


def test_a_faulty_year_file_is_wrong_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "2025.toml").write_text("year = 2025\nfundraising_goal = -1\n", encoding="utf-8")
    monkeypatch.setenv("MENTOR_PIPELINE_CONFIG_DIR", str(tmp_path))
    result = call("status")
    assert result.exit_code == 2
    assert "fundraising_goal" in result.stderr
    assert "event_date: missing" in result.stderr


def test_a_warehouse_that_is_none_is_a_message(data_dir: Path) -> None:
    data_dir.mkdir()
    (data_dir / "mentors.duckdb").write_text("this is no database", encoding="utf-8")
    result = call("status")
    assert result.exit_code == 1
    assert "is not a DuckDB file. It was left as it is." in " ".join(result.stderr.split())


@pytest.mark.parametrize("words", [["sync"], ["why", "0042"], ["changes"]])
def test_a_failure_is_one_json_document_too(words: list[str]) -> None:
    result = call(*words, "--json")
    assert result.exit_code in {1, 2}
    document = json.loads(result.stdout)
    assert document["ok"] is False
    assert document["error"] in " ".join(result.stderr.split())


def test_what_a_command_makes_is_its_owners_alone_whatever_the_system_gives(
    synced: DuckDBWarehouse, data_dir: Path
) -> None:
    """Killed when its changes stand only in the file that DuckDB writes ahead: names are in that."""
    code = f"""
import os, pathlib, signal
from mentor_pipeline.resources import duckdb_warehouse
close = duckdb_warehouse._Engine.close
def killed(engine, path, connection):
    if pathlib.Path(f"{{path}}.wal").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    close(engine, path, connection)
duckdb_warehouse._Engine.close = killed
{MAIN}"""
    command = [sys.executable, "-c", code, "forget", "0001", "--yes"]
    ended = subprocess.run(command, check=False, timeout=60, umask=0o022)  # noqa: S603
    assert ended.returncode == -signal.SIGKILL
    assert (data_dir / "mentors.duckdb.wal").exists()
    assert {
        path.name: oct(path.stat().st_mode & 0o077) for path in data_dir.iterdir() if path.stat().st_mode & 0o077
    } == {}


def test_what_a_container_makes_is_its_owners_alone() -> None:
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    (entry,) = (json.loads(line.removeprefix("ENTRYPOINT ")) for line in lines if line.startswith("ENTRYPOINT "))
    command = [*entry, "sh", "-c", 'umask; echo "$@"', "sh", "two words", "$HOME"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, umask=0o022)  # noqa: S603
    assert shown.stdout == "0077\ntwo words $HOME\n"


def test_the_log_of_faults_does_not_grow_for_ever(data_dir: Path) -> None:
    data_dir.mkdir()
    log = data_dir / LOG_NAME
    log.write_text("".join(f"old {number}\n" for number in range(300_000)), encoding="utf-8")
    log.chmod(0o600)
    for number in range(20):
        error = ValueError(f"fault {number} \x1b[31m {'x' * 60_000}")
        _tell_unexpected(ValueError, error, None)
        assert log.stat().st_size < 1_100_000
    lines = log.read_text(encoding="utf-8").splitlines()
    assert sum(line.startswith("ValueError: fault") for line in lines) > 8
    assert lines[-2].startswith("ValueError: fault 19 \ufffd[31m")
    assert all(re.match(r"old \d+$|\d{4}-|ValueError: fault |x*$", line) for line in lines)
    assert log.stat().st_mode & 0o077 == 0


def test_a_fault_of_the_program_is_one_line_and_a_log(data_dir: Path) -> None:
    data_dir.mkdir()
    code = f"from mentor_pipeline.operator import reports; reports.status = None; {MAIN}"
    failed = process("status", "--json", code=code)
    assert failed.returncode == 1
    assert "Traceback" not in failed.stderr
    assert "Unexpected error, a fault of this program: TypeError" in json.loads(failed.stdout)["error"]
    log = data_dir / LOG_NAME
    assert str(log) in failed.stderr.replace("\n", "")
    assert "Traceback (most recent call last)" in log.read_text(encoding="utf-8")
    assert log.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("password", ["Geheim／7", "Gehe[im99", "Geheim 99", "Gehe/im@99", "kurz"])
@pytest.mark.parametrize("is_set", [True, False], ids=["in the environment", "on the command line"])
def test_a_fault_of_the_program_shows_no_secret(
    password: str, is_set: bool, data_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    data_dir.mkdir()
    url = f"postgresql://mentors:{password}@db.example.org/mentors"
    monkeypatch.setenv(GIVEBUTTER_KEY, "a-secret-key-of-givebutter")
    monkeypatch.setenv("MENTOR_PIPELINE_DATABASE_URL", url if is_set else "")
    monkeypatch.setattr("sys.argv", ["mentor-pipeline", "migrate", *([] if is_set else ["--to", url])])
    said = f"netloc 'mentors:{password}@db' and {url} and a-secret-key-of-givebutter"
    try:
        raise ValueError(said) from LookupError(f"{said} {url!r}")
    except ValueError as error:
        _tell_unexpected(ValueError, error, error.__traceback__)
    shown = capsys.readouterr().err
    logged = (data_dir / LOG_NAME).read_text(encoding="utf-8")
    assert "fault of this program: ValueError: netloc 'mentors:***@db' and" in shown
    assert "LookupError: netloc" in logged
    assert "mentor-pipeline migrate" in logged
    for text in (shown, logged):
        assert password not in text
        assert "a-secret-key" not in text


@pytest.mark.parametrize("password", ["Geheim／7", "Gehe[im99"])
def test_a_password_that_breaks_the_databases_url_is_shown_nowhere(
    password: str, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_dir.mkdir()
    url = f"postgresql://mentors:{password}@db.example.org/mentors"
    carried = process("migrate", "--to", url)
    monkeypatch.setenv("MENTOR_PIPELINE_DATABASE_URL", url)
    for failed, setting in ((carried, "--to"), (process("status"), "MENTOR_PIPELINE_DATABASE_URL")):
        assert failed.returncode == 2
        assert failed.stderr.startswith(f"{setting} cannot be understood.")
        assert "Gehe" not in failed.stdout + failed.stderr
    assert not (data_dir / LOG_NAME).exists()


# -- reading ---------------------------------------------------------------------------------------------------------


def test_status_shows_counts_and_the_next_step(synced: DuckDBWarehouse) -> None:
    shown = call("status").stdout
    assert "Mentors: 3" in shown
    assert "Import file: 1 mentor can be sent, 1 differ from Givebutter; 1 withheld" in shown
    assert "mentor-pipeline problems" in shown
    assert "contact_selection" in shown
    assert "Next: Decide about contacts (1 undecided)" in shown
    document = json.loads(call("status", "--json").stdout)
    assert document["by_status"] == {"needs_setup": 2, "complete": 1}


def test_why_shows_candidates_and_reasons(synced: DuckDBWarehouse) -> None:
    shown = call("why", "MN0001").stdout
    assert f"{mentor('0001')['full_name'].item()}, mentor 0001 of 2025" in shown
    assert "Contact 7: linked, by email" in shown
    assert "it leads contact 8" in shown
    assert contact(8)["primary_email"].item() in shown
    pending = json.loads(call("conflicts", "list", "--type", "phone_mismatch", "--json").stdout)["rows"]
    assert f"conflicts show {pending[0]['id'].removeprefix('conflict-')[:8]}`" in shown
    document = json.loads(call("why", "1", "--json").stdout)
    assert [candidate["role"] for candidate in document["candidates"]] == ["winner", "loser", "rejected"]


def test_changes_take_filters(synced: DuckDBWarehouse) -> None:
    shown = call("changes", "--type", "field_change").stdout
    assert "shirt_size" in shown
    assert "contact_linked" not in shown
    document = json.loads(call("changes", "--since", "1111", "--significant", "--json").stdout)
    assert document["by_type"] == {"contact_linked": 1}
    assert call("changes", "--mentor", "0300").stdout.strip() == "Nothing changed."


def test_conflicts_are_listed_and_shown(synced: DuckDBWarehouse) -> None:
    listed = call("conflicts", "list").stdout
    assert "contact_selection" in listed
    rows = json.loads(call("conflicts", "list", "--type", "phone_mismatch", "--json").stdout)["rows"]
    assert [row["mn_id"] for row in rows] == ["0001"]
    short = rows[0]["id"].removeprefix("conflict-")[:8]
    assert short in listed
    assert rows[0]["id"] not in listed
    shown = call("conflicts", "show", short).stdout
    assert "phone_mismatch of" in shown
    assert "Recommended: a" in shown
    assert "obsolete" in call("conflicts", "list", "--status", "all").stdout


def test_conflicts_fit_into_80_columns_with_every_word_whole(
    synced: DuckDBWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "Bartholomew Featherstonehaugh-Cholmondeley"
    synced.replace("mentors", mentor("0042", full_name=name, gb_match_status="conflict"), year=YEAR)
    shown = call("conflicts", "list").stdout
    words = shown.split()
    assert max(map(len, shown.splitlines())) <= 80
    for word in ("Bartholomew", "contact_selection:", "phone_mismatch:", "Birch"):
        assert word in words


def test_a_conflict_is_shown_in_an_operators_words(synced: DuckDBWarehouse) -> None:
    option = {
        "value": 31097901, "source": "raw_gb_full_contacts", "name": "Ben Birch", "external_id": None, "score": 550.0,
        "score_parts": {"campaign_tag": 500.0, "member": 0.0, "phone": 50.0}, "matched_on": ["personal_email"],
    }  # fmt: skip
    other = {"value": "none", "source": "rules", "what": "none of these: create a contact"}
    found = Conflict("0042", "contact_selection", option, other, "contact_matches", severity="high")
    stored = conflict_rows(YEAR, [found]).row(0, named=True)
    synced.upsert("sync_conflicts", row("sync_conflicts", **stored, status="pending", detected_at=NOW))
    shown = call("conflicts", "show", stored["id"]).stdout
    facts = {line[:12].strip(): line for line in shown.splitlines()}
    assert facts["contact"].split() == ["contact", "31097901"]
    assert "campaign tag 500 + phone 50 = 550" in facts["score"]
    assert "Givebutter" in facts["source"]
    assert "personal email" in facts["matched on"]
    assert "none of these: create a contact" in facts["what"]
    for inner in ("raw_gb_full_contacts", "score_parts", "score parts", "external id", "31,097,901", "rules"):
        assert inner not in shown


def test_problems_are_listed_by_type(synced: DuckDBWarehouse) -> None:
    about = {"year": YEAR, "mn_id": "0042", "type": "invalid_phone", "severity": "error", "resolved": False}
    problem = row("sync_errors", id="e1", message="It holds no phone number.", first_seen_at=NOW, **about)
    synced.upsert("sync_errors", problem)
    shown = call("problems").stdout
    assert "2 open errors and warnings" in shown
    assert f"0042 {mentor('0042')['full_name'].item()}" in " ".join(shown.split())
    assert "It holds no phone number. Since 2025-10-01 12:00 UTC." in " ".join(shown.split())
    document = json.loads(call("problems", "--severity", "warning", "--json").stdout)
    assert document["by_type"] == {"shared_phone": 1}
    refused = call("problems", "--type", "nonsense")
    assert refused.exit_code == 2
    assert "Known types: contact_row_set_aside, " in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    "words", [["conflicts", "list", "--type", "nonsense"], ["changes", "--type", "nonsense", "--json"]]
)
def test_a_type_that_there_is_not_is_wrong_use(synced: DuckDBWarehouse, words: list[str]) -> None:
    refused = call(*words)
    assert refused.exit_code == 2
    assert "is of type nonsense. Known types: c" in " ".join(refused.stderr.split())


@pytest.mark.parametrize(
    ("file", "messages", "ending"),
    [
        ({"message": "a.csv: 1 row"}, False, "Next: import it in Givebutter (Contacts, Import); then"),
        (
            {"message": "Nothing new: a.csv", "unchanged": True},
            False,
            "Next: import it in Givebutter (Contacts, Import), unless",
        ),
        ({"message": "Nothing to import", "paths": []}, False, "Nothing needs importing."),
        ({"message": "a.csv: 1 message"}, True, "Next: load it into the texting platform."),
        ({"message": "No text message", "paths": []}, True, "Nothing needs loading into the texting platform."),
    ],
)
def test_what_comes_next_fits_what_was_written(
    capsys: pytest.CaptureFixture[str], file: dict[str, Any], *, messages: bool, ending: str
) -> None:
    outcome = RunOutcome("export", "run", success=True, seconds=1.0, steps=())
    told = {"paths": ["/exports/a.csv"], "unchanged": False, "warnings": [], **file}
    Terminal().result(None, *show.export(outcome, told, messages=messages))
    shown = capsys.readouterr().out
    assert shown.split("\n\n")[-1].startswith(ending)
    assert ("/exports/a.csv" in shown) == bool(told["paths"])


def test_what_a_check_warns_of_is_one_line_and_errors_have_rows(capsys: pytest.CaptureFixture[str]) -> None:
    names = "2 mentors are held: Ada Alder, Ben Birch. Decide the conflict."
    checks = (
        FailedCheck("mn_gb_import_held", "nobody_is_held", "warning", False, names, ({"mn_id": "0042"},)),
        FailedCheck("mn_gb_import", "import_file_is_valid", "error", True, "1 row is wrong.", ({"mn_id": "0300"},)),
    )
    outcome = RunOutcome("sync", "run", success=True, seconds=1.0, steps=(), failed_checks=checks)
    Terminal().result(None, *show.run(outcome))
    shown = capsys.readouterr().out.splitlines()
    assert "Warning: 2 mentors are held." in shown
    assert "0300" in " ".join(shown)
    assert "0042" not in " ".join(shown)
    assert "mentor-pipeline problems" in shown[-1]


def test_no_value_can_steer_the_terminal(synced: DuckDBWarehouse) -> None:
    synced.upsert("raw_gb_full_contacts", contact(8, first_name="\x1b[2JBen", last_name="[red]B\u202eirch"))
    synced.replace("mentors", mentor("0001", full_name="Ada\x1b]0;x\x07 [bold]Alder"), year=YEAR)
    shown = call("why", "1").stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown
    assert "[red]B" in shown
    assert "[bold]Alder" in shown


def test_preflight_fails_when_a_row_would_be_refused(synced: DuckDBWarehouse, tmp_path: Path) -> None:
    file = tmp_path / "import.csv"
    file.write_text('"Givebutter Contact ID","Contact External ID","Last Name"\n"7","0001","Birch"\n', encoding="utf-8")
    good = call("preflight", str(file))
    assert good.exit_code == 0
    assert "1 row: Givebutter should take all" in good.stdout
    twice = '"Givebutter Contact ID","Contact External ID","Last Name"\n"7","0001","Birch"\n"7","0002","Elm"\n'
    file.with_name("twice.csv").write_text(twice, encoding="utf-8")
    wrong = call("preflight", str(file.with_name("twice.csv")))
    assert wrong.exit_code == 1
    assert "twice.csv, 2 rows: Givebutter would take 2 wrongly." in wrong.stdout
    assert "rows 2 and 3" in " ".join(wrong.stdout.split())
    synced.upsert("raw_gb_full_contacts", contact(9, external_id="0001", external_mn_id="1"))
    bad = call("preflight", str(file), "--json")
    assert bad.exit_code == 1
    document = json.loads(bad.stdout)
    assert (document["refused"], document["findings"][0]["row"]) == (1, 2)
    assert "A contact with External ID [0001] already exists." in document["findings"][0]["words"]


# -- config check ----------------------------------------------------------------------------------------------------


def checks(result: Result) -> dict[str, Any]:
    return {line["checked"]: line for line in json.loads(result.stdout)["checks"]}


def test_config_check_finds_missing_keys_and_creates_nothing(data_dir: Path) -> None:
    result = call("config", "check", "--json")
    assert result.exit_code == 2
    found = checks(result)
    assert {name for name, line in found.items() if line["result"] == "fault"} == {JOTFORM_KEY, GIVEBUTTER_KEY}
    assert found["year file 2025.toml"]["result"] == "ok"
    assert not data_dir.exists()


def test_config_check_asks_both_services(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(World.empty(program())) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        good = call("config", "check", "--json")
        assert good.exit_code == 0
        assert "form of raw_mn_partner_preference" in checks(good)
        assert program().givebutter.campaign in checks(good)["Givebutter"]["words"]
        monkeypatch.setenv(JOTFORM_KEY, "a-wrong-key-of-jotform")
        bad = call("config", "check", "--json")
    assert bad.exit_code == 2
    assert checks(bad)["Jotform"]["result"] == "fault"
    assert "is refused" in checks(bad)["Jotform"]["words"]
    assert "form of raw_mn_signups" not in checks(bad)
    assert checks(bad)["Givebutter"]["result"] == "ok"
    assert "a-wrong-key-of-jotform" not in bad.output


def test_config_check_names_questions_that_a_form_lacks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    text = (packaged_config_dir() / "2025.toml").read_text(encoding="utf-8")
    (tmp_path / "2025.toml").write_text(text.replace('phone = "6"', 'phone = "666"', 1), encoding="utf-8")
    monkeypatch.setenv("MENTOR_PIPELINE_CONFIG_DIR", str(tmp_path))
    with Simulator(World.empty(program())) as simulator:
        for name, value in simulator.environment().items():
            monkeypatch.setenv(name, value)
        found = checks(call("config", "check", "--json"))
    faults = {name for name, line in found.items() if line["result"] == "fault"}
    assert faults == {"form of raw_mn_signups"}
    assert "666" in found["form of raw_mn_signups"]["words"]


def test_no_text_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """A file or a person may be called anything."""
    name = "evil\x1b[31m\x1b]0;pwned\x07\u202ename\r.csv"
    Terminal().result(None, name)
    Terminal().say(f"{name}: completed.\n\tMore.", "red")
    told = capsys.readouterr()
    for shown in (told.out, told.err):
        assert "evil\ufffd[31m\ufffd]0;pwned\ufffdname.csv" in shown  # two of them Rich leaves out by itself
        assert not {"\x1b", "\x07", "\u202e", "\r"} & set(shown)
    assert told.err.splitlines()[1].endswith("More.")
