"""Both clients and the frames made of what they read, against the simulated services."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from mentor_pipeline.domain.api_contacts import contact_rows, member_rows
from mentor_pipeline.domain.submissions import configured_forms, require_questions, submission_rows
from mentor_pipeline.errors import ApiError
from mentor_pipeline.resources.givebutter import ContactState, GivebutterResource
from mentor_pipeline.resources.jotform import JotformResource
from mentor_pipeline.simulator import Simulator, generate_world
from tests.builders import program

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mentor_pipeline.simulator import World

pytestmark = pytest.mark.usefixtures("no_waiting")

PROGRAM = program()


@pytest.fixture(scope="module")
def world() -> World:
    return generate_world(PROGRAM, seed=7, mentors=60, contacts=450)


@pytest.fixture(scope="module")
def simulator(world: World) -> Iterator[Simulator]:
    with Simulator(world) as running:
        yield running


@pytest.fixture
def jotform(simulator: Simulator) -> JotformResource:
    return JotformResource(api_key=simulator.jotform_key, base_url=simulator.jotform_url)


@pytest.fixture
def givebutter(simulator: Simulator) -> GivebutterResource:
    return GivebutterResource(
        api_key=simulator.givebutter_key, base_url=simulator.givebutter_url, requests_per_second=1000
    )


def test_every_form(jotform: JotformResource, world: World) -> None:
    read = 0
    for table, form in configured_forms(PROGRAM.jotform).items():
        require_questions(table, form, jotform.questions(form.form_id))
        rows = submission_rows(table, jotform.submissions(form.form_id), form, PROGRAM.zone)
        assert rows["submission_id"].is_unique().all()
        assert rows["submitted_at"].null_count() == 0
        given = rows.filter(rows["phone_raw"].is_not_null())
        assert given.filter(given["phone"].is_not_null()).height > given.height * 0.8
        read += rows.height
    assert read == len(world.submissions)
    assert jotform.limit_left is not None


def test_every_contact(givebutter: GivebutterResource, world: World) -> None:
    rows = contact_rows(givebutter.contacts())
    assert rows["contact_id"].to_list() == list(world.active_ids())
    for row in rows.iter_rows(named=True):
        contact = world.contacts[row["contact_id"]]
        assert row["tags"] == sorted(set(contact.tags))
        assert row["last_name"] == (contact.last_name or None)
        assert row["total_contributions"] == contact.total_contributions
        assert row["last_modified_at"] == contact.updated_at.replace(microsecond=0)


def test_contacts_that_changed_since(givebutter: GivebutterResource, world: World) -> None:
    before = world.now() - timedelta(seconds=2)
    contact_id = next(iter(world.active_ids()))
    world.edit_contact(contact_id, note="Called back")
    changed = contact_rows(givebutter.contacts(updated_after=before))
    assert contact_id in changed["contact_id"]
    assert changed.height < len(world.active_ids())
    assert givebutter.contacts(updated_after=datetime(2100, 1, 1, tzinfo=UTC)) == []


def test_the_campaign_and_its_members(givebutter: GivebutterResource, world: World) -> None:
    campaign = givebutter.campaign(PROGRAM.givebutter.campaign)
    members = member_rows(givebutter.members(campaign.campaign_id), year=2025, campaign_id=campaign.campaign_id)
    assert set(members["member_id"]) == {m.id for m in world.members.values() if m.campaign_id == campaign.campaign_id}


@pytest.mark.parametrize("is_forbidden", [True, False])
def test_archive_and_restore(givebutter: GivebutterResource, world: World, *, is_forbidden: bool) -> None:
    world.behaviour.archived_is_forbidden = is_forbidden
    contact_id = world.add_contact(first_name="Ada", last_name="Alder", emails=["ada@example.com"])
    assert [givebutter.archive(contact_id) for _ in range(2)] == ["done", "already"]
    assert givebutter.contact(contact_id).state is ContactState.ARCHIVED
    assert givebutter.restore(contact_id) == "done"
    assert givebutter.contact(contact_id).state is ContactState.FOUND
    world.delete_contact(contact_id)
    assert givebutter.contact(contact_id).state is ContactState.GONE
    assert givebutter.archive(contact_id) == "gone"


def test_changing_a_contact(givebutter: GivebutterResource, world: World) -> None:
    contact_id = world.add_contact(first_name="Ada", last_name="Alder", external_id="MN77", tags=["SWAB"])
    givebutter.update(contact_id, first_name="Ada", last_name="Alder", changes={"external_id": None})
    givebutter.tags_add(contact_id, ["Mentors 2025"])
    givebutter.tags_remove(contact_id, ["SWAB"])
    contact = world.contact(contact_id)
    assert (contact.external_id, contact.tags) == (None, ["Mentors 2025"])


def test_wrong_keys_and_a_wrong_form(simulator: Simulator, jotform: JotformResource) -> None:
    with pytest.raises(ApiError, match="the form id 999 is wrong"):
        jotform.submissions("999")
    with pytest.raises(ApiError, match="the key is refused"):
        JotformResource(api_key="wrong", base_url=simulator.jotform_url).submissions("999")
    with pytest.raises(ApiError, match="GIVEBUTTER_API_KEY is refused"):
        GivebutterResource(api_key="wrong", base_url=simulator.givebutter_url).contacts()
