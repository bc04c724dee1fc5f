"""Givebutter's wire facts, over real HTTP."""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from mentor_pipeline.simulator import Address, RateLimit, Simulator, World, WorldError

if TYPE_CHECKING:
    from mentor_pipeline.settings import ProgramYear
    from tests.simulator.conftest import Clock

CONTACT_KEYS = {
    *("id", "external_id", "type", "prefix", "first_name", "preferred_name", "middle_name", "last_name", "suffix"),
    *("gender", "pronouns", "dob", "company", "employer", "title", "website_url", "twitter_url", "linkedin_url"),
    *("facebook_url", "tiktok_url", "instagram_url", "emails", "phones", "primary_email", "primary_phone", "note"),
    *("addresses", "primary_address", "stats", "last_donation_amount", "tags", "custom_fields"),
    *("is_email_subscribed", "is_phone_subscribed", "is_address_subscribed", "email_opt_in", "sms_opt_in"),
    *("contact_since", "archived_at", "created_at", "updated_at"),
}


def contact(world: World, **values: Any) -> int:
    return world.add_contact(**{"first_name": "Maya", "last_name": "Foxgrove", **values})


def found(givebutter: httpx.Client, **query: Any) -> list[int]:
    answer = givebutter.get("/contacts", params=query)
    assert answer.status_code == 200
    return [row["id"] for row in answer.json()["data"]]


def test_a_wrong_key_is_refused(givebutter: httpx.Client) -> None:
    answer = givebutter.get("/contacts", headers={"Authorization": "Bearer wrong"})
    assert (answer.status_code, answer.json()) == (401, {"message": "Unauthenticated."})


def test_pages_links_and_meta(world: World, givebutter: httpx.Client, sim: Simulator) -> None:
    ids = [contact(world) for _ in range(45)]
    body = givebutter.get("/contacts", params={"page": 2}).json()
    path = f"{sim.givebutter_url}/contacts"
    assert [row["id"] for row in body["data"]] == ids[20:40]
    assert body["links"] == {
        "first": f"{path}?page=1",
        "last": f"{path}?page=3",
        "prev": f"{path}?page=1",
        "next": f"{path}?page=3",
    }
    assert body["meta"] == {
        "current_page": 2, "from": 21, "last_page": 3, "path": path, "per_page": 20, "to": 40, "total": 45,
    }  # fmt: skip


def test_per_page_is_100_at_most_and_past_the_end_is_empty(world: World, givebutter: httpx.Client) -> None:
    for _ in range(101):
        contact(world)
    assert givebutter.get("/contacts", params={"per_page": 500}).json()["meta"]["per_page"] == 100
    beyond = givebutter.get("/contacts", params={"page": 9}).json()
    assert beyond["data"] == []
    assert (beyond["meta"]["from"], beyond["meta"]["to"], beyond["links"]["next"]) == (None, None, None)


def test_a_single_contact_is_not_wrapped_and_has_every_field(world: World, givebutter: httpx.Client) -> None:
    home = Address("12 Mill St", "Athens", "GA", "30601", "Apt 3")
    contact_id = contact(
        world,
        external_id="0042",
        emails=["maya@example.com", "maya@uga.edu"],
        phones=["+17065550142"],
        addresses=[home],
        tags=["Mentors 2025"],
        custom_fields={"📆 Shift Preference": "Option 1"},
        total_contributions=Decimal("25.50"),
    )
    wire = givebutter.get(f"/contacts/{contact_id}").json()
    assert set(wire) == CONTACT_KEYS
    assert wire["id"] == contact_id
    assert wire["primary_email"] == "maya@example.com"
    assert wire["emails"][1]["value"] == "maya@uga.edu"
    assert wire["phones"] == [{"type": "mobile", "value": "+17065550142"}]
    assert wire["primary_address"]["zipcode"] == "30601"
    assert wire["primary_address"]["is_primary"] is True
    assert wire["stats"] == {"total_contributions": 25.5, "recurring_contributions": 0.0}
    assert wire["created_at"] == "2025-10-01T16:00:00.000000Z"
    [field] = wire["custom_fields"]
    assert (field["title"], field["type"], field["value"]) == ("📆 Shift Preference", "select", "Option 1")
    assert field["field_id"] == world.custom_fields["📆 Shift Preference"].id


def test_time_filters(world: World, givebutter: httpx.Client, clock: Clock) -> None:
    first = contact(world)
    second = contact(world)
    clock.forward(hours=1)
    world.edit_contact(first, prefix="Mai")
    third = contact(world)
    assert found(givebutter, updatedAfter="2025-10-01T16:30:00Z") == [first, third]
    assert found(givebutter, updatedAfter="2025-10-01T12:30:00-04:00") == [first, third]
    assert found(givebutter, updatedAfter="2025-10-01T17:00:00Z") == []
    assert found(givebutter, updatedBefore="2025-10-01T16:30:00") == [second]
    assert found(givebutter, createdAfter="2025-10-01T16:30:00Z") == [third]
    assert found(givebutter, createdBefore="2025-10-01T16:30:00Z") == [first, second]
    answer = givebutter.get("/contacts", params={"updatedAfter": "yesterday-ish"})
    assert answer.status_code == 422
    assert "updatedAfter" in answer.json()["errors"]


def test_text_filters(world: World, givebutter: httpx.Client) -> None:
    one = contact(world, emails=["maya@example.com", "maya@uga.edu"], tags=["Mentors 2025", "Donor"])
    other = contact(world, first_name="Liam", last_name="Ashcroft", emails=["liam@example.com"], tags=["Donor"])
    assert found(givebutter, email="MAYA@uga.edu") == [one]
    assert found(givebutter, primaryEmail="maya@uga.edu") == []
    assert found(givebutter, primaryEmail="liam@example.com") == [other]
    assert found(givebutter, firstName="liam") == [other]
    assert found(givebutter, lastName="Foxgrove", firstName="Liam") == []
    assert found(givebutter, tags="Mentors 2025") == [one]
    assert found(givebutter, tags="Donor") == [one, other]


def test_archived_contacts_are_in_no_list_whatever_the_scope(world: World, givebutter: httpx.Client) -> None:
    contact_id = contact(world, emails=["maya@example.com"])
    assert givebutter.delete(f"/contacts/{contact_id}").json()["archived_at"]
    for query in ({}, {"scope": "archived"}, {"scope": "all"}, {"email": "maya@example.com"}):
        assert found(givebutter, **query) == []
    assert givebutter.get(f"/contacts/{contact_id}").json()["archived_at"] == "2025-10-01T16:00:00.000000Z"
    world.behaviour.archived_is_forbidden = True
    assert givebutter.get(f"/contacts/{contact_id}").status_code == 403
    assert givebutter.patch(f"/contacts/{contact_id}/restore").json()["archived_at"] is None
    assert found(givebutter) == [contact_id]


def test_archive_may_answer_without_content_and_twice_is_forbidden(world: World, givebutter: httpx.Client) -> None:
    world.behaviour.archive_answers_no_content = True
    contact_id = contact(world)
    answer = givebutter.delete(f"/contacts/{contact_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert givebutter.delete(f"/contacts/{contact_id}").status_code == 403
    assert givebutter.put(f"/contacts/{contact_id}", json={"first_name": "A", "last_name": "B"}).status_code == 403


def test_unknown_and_deleted_contacts_are_not_found(world: World, givebutter: httpx.Client) -> None:
    contact_id = contact(world)
    world.delete_contact(contact_id)
    for answer in (
        givebutter.get(f"/contacts/{contact_id}"),
        givebutter.delete(f"/contacts/{contact_id}"),
        givebutter.patch(f"/contacts/{contact_id}/restore"),
        givebutter.get("/contacts/nonsense"),
        givebutter.get("/no/such/path"),
    ):
        assert answer.status_code == 404
        assert answer.json()["message"]


def test_update_needs_the_names_and_replaces_tags(world: World, givebutter: httpx.Client, clock: Clock) -> None:
    contact_id = contact(world, external_id="0042", tags=["Donor"])
    missing = givebutter.put(f"/contacts/{contact_id}", json={"external_id": None})
    assert missing.status_code == 422
    assert set(missing.json()["errors"]) == {"first_name", "last_name"}
    assert world.contact(contact_id).external_id == "0042"
    clock.forward(minutes=5)
    names = {"first_name": "Maya", "last_name": "Foxgrove"}
    answer = givebutter.put(f"/contacts/{contact_id}", json={**names, "external_id": None, "tags": ["Mentors 2025"]})
    assert answer.status_code == 200
    assert (answer.json()["external_id"], answer.json()["tags"]) == (None, ["Mentors 2025"])
    assert answer.json()["updated_at"] == "2025-10-01T16:05:00.000000Z"


def test_update_refuses_an_external_id_in_use_and_long_tags(world: World, givebutter: httpx.Client) -> None:
    holder = contact(world, external_id="0042")
    world.archive_contact(holder)
    contact_id = contact(world)
    body = {"first_name": "Maya", "last_name": "Foxgrove", "external_id": "0042", "tags": ["x" * 65]}
    errors = givebutter.put(f"/contacts/{contact_id}", json=body).json()["errors"]
    assert errors["external_id"] == ["A contact with External ID [0042] already exists."]
    assert "tags.0" in errors


def test_tags_add_remove_and_sync(world: World, givebutter: httpx.Client, clock: Clock) -> None:
    contact_id = contact(world, tags=["Donor"])
    url = f"/contacts/{contact_id}/tags"
    assert givebutter.post(f"{url}/add", json={"tags": ["A", "Donor"]}).json()["tags"] == ["Donor", "A"]
    assert givebutter.post(f"{url}/remove", json={"tags": ["Donor"]}).json()["tags"] == ["A"]
    assert givebutter.post(f"{url}/sync", json={"tags": ["B", "C"]}).json()["tags"] == ["B", "C"]
    clock.forward(hours=1)
    unchanged = givebutter.post(f"{url}/add", json={"tags": ["B"]}).json()
    assert unchanged["updated_at"] == "2025-10-01T16:00:00.000000Z"
    assert givebutter.post(f"{url}/add", json={"tags": ["x" * 65]}).status_code == 422
    assert givebutter.post(f"{url}/add", json={}).status_code == 422
    assert givebutter.post(f"{url}/shuffle", json={"tags": []}).status_code == 404


def test_the_years_campaign_is_found_on_a_later_page_and_its_code_and_slug_differ(
    world: World, givebutter: httpx.Client
) -> None:
    first = givebutter.get("/campaigns").json()
    second = givebutter.get("/campaigns", params={"page": 2}).json()
    assert all(campaign["slug"] != "SWABUGA2025" for campaign in first["data"])
    [campaign] = [campaign for campaign in second["data"] if campaign["slug"] == "SWABUGA2025"]
    assert campaign["id"] == world.campaign.id
    assert len(campaign["code"]) == 6
    assert givebutter.get(f"/campaigns/{campaign['id']}").json()["title"] == campaign["title"]
    assert givebutter.get("/campaigns/1").status_code == 404
    assert givebutter.get("/campaigns/1/members").status_code == 404


@pytest.mark.parametrize(("named", "attribute"), [("412345", "id"), ("AB12CD", "code"), ("our-run-2025", "slug")])
def test_the_configured_campaign_exists_however_the_year_file_names_it(
    program: ProgramYear, named: str, attribute: str
) -> None:
    givebutter = program.givebutter.model_copy(update={"campaign": named})
    world = World.empty(program.model_copy(update={"givebutter": givebutter}))
    assert str(getattr(world.campaign, attribute)) == named


def test_members_know_no_contact_and_may_lack_everything_but_a_name(world: World, givebutter: httpx.Client) -> None:
    member_id = world.add_member(first_name="Maya", last_name="Foxgrove", raised=Decimal("80.25"), donors=3)
    url = f"/campaigns/{world.campaign.id}/members"
    [member] = givebutter.get(url).json()["data"]
    assert set(member) == {
        "id", "first_name", "last_name", "display_name", "email", "phone", "picture", "raised", "goal", "donors",
        "items", "url", "created_at", "updated_at",
    }  # fmt: skip
    assert (member["id"], member["email"], member["phone"], member["raised"]) == (member_id, None, None, 80.25)
    world.edit_member(member_id, raised=Decimal(90))
    assert givebutter.get(url).json()["data"][0]["raised"] == 90.0
    world.remove_member(member_id)
    assert givebutter.get(url).json()["data"] == []


def test_merged_contacts_leave_one_that_has_what_both_had(world: World, givebutter: httpx.Client) -> None:
    keep = contact(world, emails=["maya@example.com"], tags=["Donor"], total_contributions=Decimal(5))
    gone = contact(
        world, external_id="0042", emails=["maya@uga.edu"], phones=["+17065550142"], total_contributions=Decimal(7)
    )
    world.merge_contacts(keep, gone)
    assert givebutter.get(f"/contacts/{gone}").status_code == 404
    kept = givebutter.get(f"/contacts/{keep}").json()
    assert [email["value"] for email in kept["emails"]] == ["maya@example.com", "maya@uga.edu"]
    assert (kept["external_id"], kept["primary_phone"]) == ("0042", "+17065550142")
    assert kept["stats"]["total_contributions"] == 12.0


def test_the_tolerated_variants_appear_and_can_be_switched_off(world: World, givebutter: httpx.Client) -> None:
    objects = contact(world, id=997_000_000, tags=["Donor", "Parents"])
    text = contact(world, id=1_499_000_000, tags=["Donor"])

    def wire(contact_id: int) -> dict[str, Any]:
        return givebutter.get(f"/contacts/{contact_id}").json()

    assert [tag["name"] for tag in wire(objects)["tags"]] == ["Donor", "Parents"]
    assert (wire(text)["tags"], wire(text)["emails"]) == ("Donor", None)
    world.behaviour.tolerated_variants = False
    assert (wire(text)["tags"], wire(text)["emails"]) == (["Donor"], [])


def test_contacts_cannot_be_created_over_the_api(givebutter: httpx.Client) -> None:
    assert givebutter.post("/contacts", json={"first_name": "A", "last_name": "B"}).status_code == 405


def test_rate_limit_answers_429_until_the_window_has_passed(world: World) -> None:
    with Simulator(world, rate_limit=RateLimit(calls=3, seconds=0.5)) as sim:
        headers = {"Authorization": f"Bearer {sim.givebutter_key}"}
        with httpx.Client(base_url=sim.givebutter_url, headers=headers) as client:
            answers = [client.get("/campaigns") for _ in range(4)]
            assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
            assert answers[-1].headers["retry-after"] == "1"
            until = time.monotonic() + 5
            while client.get("/campaigns").status_code == 429:
                assert time.monotonic() < until
        assert httpx.get(f"{sim.jotform_url}/user", headers={"APIKEY": sim.jotform_key}).status_code == 200


def test_calls_are_logged_with_endpoint_and_status(sim: Simulator, givebutter: httpx.Client) -> None:
    givebutter.get("/contacts", params={"page": 3})
    givebutter.get("/contacts/1")
    assert [(call.endpoint, call.query, call.status) for call in sim.calls] == [
        ("givebutter.contacts", {"page": "3"}, 200),
        ("givebutter.contact", {}, 404),
    ]


def test_a_port_in_use_is_named(world: World, sim: Simulator) -> None:
    with pytest.raises(WorldError, match=f"port {sim.port}"):
        Simulator(world, port=sim.port).__enter__()


def test_a_stopped_simulator_answers_no_more(world: World) -> None:
    with Simulator(world) as sim:
        url = f"{sim.control_url}/status"
        assert httpx.get(url).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
