"""Givebutter's client: lists that are complete or fail, single contacts, and the writes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest

from mentor_pipeline.errors import ApiError, ConfigError
from mentor_pipeline.resources.givebutter import Campaign, ContactState, GivebutterResource
from tests.resources.scripted import Asked, Reply, Scripted

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.usefixtures("no_waiting")

NOT_FOUND = Reply({"message": "No query results for model [Contact]."}, 404)
FORBIDDEN = Reply({"message": "This action is unauthorized."}, 403)
UNAUTHENTICATED = Reply({"message": "Unauthenticated."}, 401)


def page(rows: list[dict[str, Any]], *, total: int | None = None, last_page: int = 1) -> Reply:
    return Reply(
        {"data": rows, "links": {}, "meta": {"total": len(rows) if total is None else total, "last_page": last_page}}
    )


class Listing:
    """A list of rows 1..count; `meanwhile` runs before each answer, with the number of the call."""

    def __init__(
        self, count: int, *, per_page: int = 100, meanwhile: Callable[[Listing, int], None] | None = None
    ) -> None:
        self.ids = list(range(1, count + 1))
        self.per_page = per_page
        self.meanwhile = meanwhile
        self.calls = 0

    def __call__(self, asked: Asked) -> Reply:
        self.calls += 1
        if self.meanwhile:
            self.meanwhile(self, self.calls)
        number, size = int(asked.query["page"]), min(self.per_page, int(asked.query["per_page"]))
        rows = [{"id": id_} for id_ in self.ids[(number - 1) * size : number * size]]
        last = max(1, -(-len(self.ids) // size))
        return Reply({"data": rows, "meta": {"total": len(self.ids), "last_page": last, "per_page": size}})


def client(server: Scripted) -> GivebutterResource:
    return GivebutterResource(api_key="nobodys-key", base_url=f"{server.url}/v1", requests_per_second=10_000)


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [int(row["id"]) for row in rows]


class TestLists:
    @pytest.mark.parametrize("count", [0, 1, 100, 101, 250])
    def test_a_list_is_read_whole(self, count: int) -> None:
        listing = Listing(count)
        with Scripted(listing) as server:
            assert ids(client(server).contacts()) == listing.ids
        assert listing.calls == max(1, -(-count // 100))

    def test_the_largest_pages_are_asked_for(self) -> None:
        with Scripted(Listing(1)) as server:
            client(server).contacts()
            assert server.asked[0].path == "/v1/contacts"
            assert server.asked[0].query == {"page": "1", "per_page": "100"}

    def test_only_what_was_updated_after_a_moment(self) -> None:
        moment = datetime(2025, 10, 1, 14, tzinfo=timezone(timedelta(hours=2)))
        with Scripted(Listing(1)) as server:
            client(server).contacts(updated_after=moment)
            assert server.asked[0].query["updatedAfter"] == "2025-10-01T12:00:00Z"
        assert moment.astimezone(UTC).hour == 12

    def test_progress(self) -> None:
        told: list[tuple[int, int | None]] = []
        with Scripted(Listing(150)) as server:
            client(server).contacts(on_page=lambda done, total: told.append((done, total)))
        assert told == [(100, 150), (150, 150)]

    def test_ids_and_counts_as_text_and_a_server_with_smaller_pages(self) -> None:
        with Scripted(
            lambda asked: Reply(
                {"data": [{"id": asked.query["page"]}], "meta": {"total": "3", "last_page": "3", "per_page": "1"}}
            )
        ) as server:
            assert ids(client(server).contacts()) == [1, 2, 3]

    @pytest.mark.parametrize("gone", [1, 40, 150])
    def test_rows_removed_between_pages_cost_no_other_row(self, gone: int) -> None:
        def remove(listing: Listing, call: int) -> None:
            if call == 4:
                del listing.ids[:gone]

        listing = Listing(700, meanwhile=remove)
        with Scripted(listing) as server:
            assert set(listing.ids) <= set(ids(client(server).contacts()))
        assert listing.calls < 14  # not everything again

    def test_a_row_that_was_added_in_front_is_fetched_too(self) -> None:
        def add(listing: Listing, call: int) -> None:
            if call == 3:
                listing.ids.insert(0, 9_999)

        listing = Listing(500, meanwhile=add)
        with Scripted(listing) as server:
            read = ids(client(server).contacts())
        assert sorted(read) == sorted(listing.ids)
        assert listing.calls < 10

    def test_a_row_that_was_added_in_the_middle_of_what_was_read(self) -> None:
        def add(listing: Listing, call: int) -> None:
            if call == 5:
                listing.ids.insert(150, 9_999)

        listing = Listing(500, meanwhile=add)
        with Scripted(listing) as server:
            assert sorted(ids(client(server).contacts())) == sorted(listing.ids)

    def test_a_row_removed_and_one_added_later_do_not_make_up_for_each_other(self) -> None:
        def change(listing: Listing, call: int) -> None:
            if call == 3:
                del listing.ids[0]
            if call == 5:
                listing.ids.append(9_999)

        listing = Listing(400, meanwhile=change)
        with Scripted(listing) as server:
            assert set(listing.ids) <= set(ids(client(server).contacts()))

    def test_a_list_that_never_becomes_complete_fails(self) -> None:
        with Scripted([page([{"id": 1}, {"id": 2}], total=3)]) as server:
            givebutter = client(server)
            with pytest.raises(
                ApiError, match=r"GET /contacts: the list has 3 rows, but only 2 came.*Nothing was"
            ) as caught:
                givebutter.contacts()
        assert caught.value.retryable
        assert givebutter.calls == 4

    def test_a_server_that_gives_the_first_page_again_and_again(self) -> None:
        rows = [{"id": number} for number in range(100)]
        with (
            Scripted([page(rows, total=300, last_page=3)]) as server,
            pytest.raises(ApiError, match="the list has 300 rows, but only 100 came"),
        ):
            client(server).contacts()

    def test_an_empty_answer_is_not_an_empty_list(self) -> None:
        with Scripted([page([], total=49_000, last_page=490)]) as server:
            givebutter = client(server)
            with pytest.raises(ApiError, match=r"empty page, though it says that there are 49000 rows"):
                givebutter.contacts()
        assert givebutter.calls == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"message": "hello"},
            {"data": [{"id": 1}]},
            {"data": None, "meta": {"total": 0, "last_page": 1}},
            {"data": [{"first_name": "Ada"}], "meta": {"total": 1, "last_page": 1}},
            {"data": [{"id": None}], "meta": {"total": 1, "last_page": 1}},
            {"data": [], "meta": {"last_page": 1}},
            [],
        ],
    )
    def test_a_200_without_the_list_is_an_error(self, body: Any) -> None:
        with (
            Scripted([Reply(body)]) as server,
            pytest.raises(ApiError, match=r"without the list it was asked for.*GIVEBUTTER_BASE_URL") as caught,
        ):
            client(server).contacts()
        assert "Ada" not in str(caught.value)

    def test_an_error_on_a_later_page_gives_nothing(self) -> None:
        listing = Listing(300)
        with (
            Scripted(lambda asked: UNAUTHENTICATED if asked.query["page"] == "3" else listing(asked)) as server,
            pytest.raises(ApiError, match=r"page=3.*answered 401.*GIVEBUTTER_API_KEY is refused"),
        ):
            client(server).contacts()

    def test_members_of_a_campaign(self) -> None:
        with Scripted(Listing(3)) as server:
            assert ids(client(server).members(42)) == [1, 2, 3]
            assert server.asked[0].path == "/v1/campaigns/42/members"


class TestContact:
    @pytest.mark.parametrize("body", [{"id": 7, "first_name": "Ada"}, {"data": {"id": "7", "first_name": "Ada"}}])
    def test_found_bare_or_wrapped(self, body: Any) -> None:
        with Scripted([Reply(body)]) as server:
            read = client(server).contact(7)
            assert server.asked[0].path == "/v1/contacts/7"
        assert (read.contact_id, read.state) == (7, ContactState.FOUND)
        assert read.contact is not None
        assert read.contact["first_name"] == "Ada"

    def test_archived_with_its_values(self) -> None:
        with Scripted([Reply({"id": 7, "archived_at": "2025-09-01T00:00:00Z"})]) as server:
            read = client(server).contact(7)
        assert read.state is ContactState.ARCHIVED
        assert read.contact is not None

    @pytest.mark.parametrize(("reply", "state"), [(FORBIDDEN, ContactState.ARCHIVED), (NOT_FOUND, ContactState.GONE)])
    def test_archived_or_gone_is_believed_when_the_key_can_read_contacts(
        self, reply: Reply, state: ContactState
    ) -> None:
        with Scripted(lambda asked: page([{"id": 1}]) if asked.path == "/v1/contacts" else reply) as server:
            givebutter = client(server)
            assert [givebutter.contact(id_).state for id_ in (7, 8)] == [state, state]
            assert [asked.path for asked in server.asked] == ["/v1/contacts/7", "/v1/contacts", "/v1/contacts/8"]

    @pytest.mark.parametrize("reply", [FORBIDDEN, NOT_FOUND])
    def test_a_key_or_an_address_that_opens_nothing_archives_nobody(self, reply: Reply) -> None:
        with (
            Scripted([reply]) as server,
            pytest.raises(ApiError, match=r"GET /contacts\?page=1&per_page=1: answered 40"),
        ):
            client(server).contact(7)

    @pytest.mark.parametrize("body", [{"message": "ok"}, {"data": None}, [], {"id": None}])
    def test_a_200_without_a_contact_is_an_error(self, body: Any) -> None:
        with Scripted([Reply(body)]) as server, pytest.raises(ApiError, match="answered without a contact"):
            client(server).contact(7)


class TestCampaign:
    CAMPAIGNS = [  # noqa: RUF012
        {"id": number, "code": f"CODE{number}", "slug": f"slug-{number}", "title": f"Campaign {number}", "url": None}
        for number in range(1, 251)
    ]

    def answer(self, asked: Asked) -> Reply:
        number = int(asked.query["page"])
        return page(self.CAMPAIGNS[(number - 1) * 100 : number * 100], total=250, last_page=3)

    @pytest.mark.parametrize("wanted", ["249", "CODE249", "slug-249", "code249"])
    def test_is_found_on_any_page(self, wanted: str) -> None:
        with Scripted(self.answer) as server:
            assert client(server).campaign(wanted) == Campaign(249, "CODE249", "slug-249", "Campaign 249", None)

    def test_an_id_comes_before_a_code_and_a_slug(self) -> None:
        rows = [{"id": 1, "slug": "3"}, {"id": 2, "code": "3"}, {"id": 3, "code": "X"}]
        with Scripted([page(rows)]) as server:
            assert client(server).campaign("3").campaign_id == 3

    def test_those_that_there_are_are_named_when_none_matches(self) -> None:
        rows = [{"id": 1, "code": "AAAAAA", "slug": "swab-2024", "title": "SWAB 2024"}]
        with Scripted([page(rows)]) as server, pytest.raises(ConfigError, match="'SWABUGA2025'") as caught:
            client(server).campaign("SWABUGA2025")
        assert "id 1, code AAAAAA, slug swab-2024: SWAB 2024" in str(caught.value)

    def test_an_account_without_campaigns(self) -> None:
        with Scripted([page([])]) as server, pytest.raises(ConfigError, match="none"):
            client(server).campaign("SWABUGA2025")


class TestWrites:
    @pytest.mark.parametrize("reply", [Reply(b"", 204), Reply({"id": 7}), Reply(b"ok", 200)])
    def test_archive(self, reply: Reply) -> None:
        with Scripted([reply]) as server:
            assert client(server).archive(7) == "done"
            assert [(asked.method, asked.path) for asked in server.asked] == [("DELETE", "/v1/contacts/7")]

    def test_restore(self) -> None:
        with Scripted([Reply({"id": 7})]) as server:
            assert client(server).restore(7) == "done"
            assert [(asked.method, asked.path) for asked in server.asked] == [("PATCH", "/v1/contacts/7/restore")]

    @pytest.mark.parametrize(
        ("contact", "outcome"),
        [
            (FORBIDDEN, "already"),
            (Reply({"id": 7, "archived_at": "2025-09-01T00:00:00Z"}), "already"),
            (NOT_FOUND, "gone"),
        ],
    )
    def test_archiving_what_is_archived_or_gone(self, contact: Reply, outcome: str) -> None:
        def answer(asked: Asked) -> Reply:
            if asked.method == "DELETE":
                return FORBIDDEN
            return page([{"id": 1}]) if asked.path == "/v1/contacts" else contact

        with Scripted(answer) as server:
            assert client(server).archive(7) == outcome

    def test_an_archive_that_is_refused_though_the_contact_is_active(self) -> None:
        with (
            Scripted(lambda asked: FORBIDDEN if asked.method == "DELETE" else Reply({"id": 7})) as server,
            pytest.raises(ApiError, match=r"DELETE /contacts/7: answered 403.*Givebutter changed nothing"),
        ):
            client(server).archive(7)

    def test_restoring_what_is_active(self) -> None:
        with Scripted(lambda asked: NOT_FOUND if asked.method == "PATCH" else Reply({"id": 7})) as server:
            assert client(server).restore(7) == "already"

    def test_an_archive_that_worked_but_whose_answer_was_lost(self) -> None:
        """The second try is told that the contact is archived, which is what was wanted."""
        archived = Reply({"id": 7, "archived_at": "2025-09-01T00:00:00Z"})
        with Scripted([Reply(b"x" * 100, resets_after=1), FORBIDDEN, archived]) as server:
            assert client(server).archive(7) == "already"

    def test_a_refused_key_is_not_taken_for_an_archived_contact(self) -> None:
        with Scripted([UNAUTHENTICATED]) as server:
            with pytest.raises(ApiError, match="answered 401"):
                client(server).archive(7)
            assert len(server.asked) == 1

    def test_an_update_resends_the_names(self) -> None:
        with Scripted([Reply({"id": 7})]) as server:
            client(server).update(7, first_name="Ada", last_name="Alder", changes={"external_id": None})
            asked = server.asked[0]
        assert (asked.method, asked.path) == ("PUT", "/v1/contacts/7")
        assert asked.body == {"first_name": "Ada", "last_name": "Alder", "external_id": None}

    def test_a_refused_update_says_which_field(self) -> None:
        refusal = Reply({"message": "The given data was invalid.", "errors": {"external_id": ["Already taken."]}}, 422)
        with (
            Scripted([refusal]) as server,
            pytest.raises(ApiError, match=r"external_id: Already taken\..*Givebutter changed nothing") as caught,
        ):
            client(server).update(7, first_name="Ada", last_name="Alder", changes={"external_id": "MN0001"})
        assert (caught.value.status, caught.value.retryable) == (422, False)

    def test_tags(self) -> None:
        with Scripted([Reply({"id": 7})]) as server:
            client(server).tags_add(7, ["Mentors 2025"])
            client(server).tags_remove(7, ["No Page"])
            assert [(asked.method, asked.path, asked.body) for asked in server.asked] == [
                ("POST", "/v1/contacts/7/tags/add", {"tags": ["Mentors 2025"]}),
                ("POST", "/v1/contacts/7/tags/remove", {"tags": ["No Page"]}),
            ]
