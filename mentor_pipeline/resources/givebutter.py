"""Client of Givebutter: contacts, campaign and members, and the few writes that people start.

Givebutter lists in pages of at most a hundred while people go on editing, so a list is read until it is complete as
Givebutter itself counts it, or the read fails: rows are never lost in silence. Contacts are never created here (they
come from the import file), and custom fields are not written. What a contact's fields mean is in
`domain.api_contacts`; which contacts to archive, release or tag is decided elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from http import HTTPStatus
from math import ceil
from typing import Any, ClassVar, Final, Literal, TypeAlias

from pydantic import Field, PrivateAttr

from mentor_pipeline.errors import ApiError, ConfigError
from mentor_pipeline.resources.http import Answer, ApiResource, Json, Progress, ServiceApi, printable
from mentor_pipeline.settings import GIVEBUTTER_KEY

PAGE_ROWS: Final = 100

Outcome: TypeAlias = Literal["done", "already", "gone"]
"""Of an archive or restore: done now, was so already, or the contact does not exist (any more)."""

_ARCHIVED_OR_GONE: Final = frozenset({HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})


class ContactState(StrEnum):
    """What asking for one contact showed."""

    FOUND = "found"
    ARCHIVED = "archived"
    GONE = "gone"


@dataclass(frozen=True, slots=True)
class ContactRead:
    """One contact as asked for by id.

    Attributes:
        contact_id: the id asked for.
        state: found, archived, or gone (deleted, or merged into another).
        contact: the contact as Givebutter sent it; None when it sent none (always when gone, mostly when archived).
    """

    contact_id: int
    state: ContactState
    contact: Json | None = None


@dataclass(frozen=True, slots=True)
class Campaign:
    """One campaign; `code` (six characters) and `slug` are different values."""

    campaign_id: int
    code: str | None
    slug: str | None
    title: str | None
    url: str | None


class GivebutterApi(ServiceApi):
    """Calls to Givebutter."""

    service: ClassVar[str] = "Givebutter"
    key_setting: ClassVar[str] = GIVEBUTTER_KEY
    url_setting: ClassVar[str] = "GIVEBUTTER_BASE_URL"

    def _key_header(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}"}

    def _said(self, answer: Answer) -> str:
        """The message, and with 422 what is wrong with which field."""
        said = super()._said(answer)
        errors = answer.body.get("errors") if isinstance(answer.body, dict) else None
        if not isinstance(errors, dict):
            return said
        faults = "; ".join(
            f"{name}: {' '.join(map(str, fault)) if isinstance(fault, list) else fault}"
            for name, fault in errors.items()
        )
        return printable(f"{said} {faults}", secret=self._key)

    def _advice(self, status: int, answer: Answer) -> str:
        if status == HTTPStatus.FORBIDDEN:
            return f"It is archived, belongs to another account, or the key in {self.key_setting} may not do this."
        if status == HTTPStatus.UNPROCESSABLE_ENTITY:
            return "Givebutter does not take these values: correct them; trying again will not help."
        return super()._advice(status, answer)


class _ListRead:
    """One list, read until it is complete.

    While pages are read, people archive and add rows, and rows move between pages. Givebutter tells with each page how
    many rows there are: when that number falls, the pages before are read again, because rows moved onto them that
    were still to come; when rows are missing at the end, first the edges, where new rows appear, and then everything
    is read once more. A row removed and one added between the same two calls leave the number as it is: that alone
    nothing in the API shows.
    """

    def __init__(
        self, api: GivebutterApi, path: str, params: Mapping[str, str | int], on_page: Progress | None
    ) -> None:
        self._api = api
        self._path = path
        self._params = params
        self._on_page = on_page
        self._rows: dict[int, Json] = {}
        self._total = 0
        self._pages = 1
        self._page_rows = PAGE_ROWS

    def rows(self) -> list[Json]:
        """All rows, each once.

        Raises:
            ApiError: Givebutter refused, or the list stayed incomplete.
        """
        self._read_all()
        if self._is_incomplete():
            self._read(1)
            self._read(self._pages)
        if self._is_incomplete():
            self._read_all()
        if self._rows and not self._total:
            raise self._api.error(
                call=f"GET {self._path}",
                what=f"the list showed {len(self._rows)} rows and was empty all of a sudden",
                advice="An empty answer is not an empty list: run it again later.",
                retryable=True,
            )
        if self._is_incomplete():
            raise self._api.error(
                call=f"GET {self._path}",
                what=f"the list has {self._total} rows, but only {len(self._rows)} came, also when it was read again",
                advice="It is being changed, or Givebutter does not list it right: run it again in a few minutes.",
                retryable=True,
            )
        return list(self._rows.values())

    def _is_incomplete(self) -> bool:
        return len(self._rows) < self._total

    def _read_all(self) -> None:
        page = 1
        while page <= self._pages:
            before = self._total
            came = self._read(page)
            if page > 1 and self._total < before:
                moved = ceil((before - self._total) / self._page_rows)
                for again in range(max(1, page - moved), page):
                    self._read(again)
            if not came:
                return
            page += 1

    def _read(self, page: int) -> int:
        answer = self._api.request("GET", self._path, params={**self._params, "page": page, "per_page": PAGE_ROWS})
        data, meta = (
            (answer.body.get("data"), answer.body.get("meta")) if isinstance(answer.body, dict) else (None, None)
        )
        try:
            rows = {int(row["id"]): row for row in data}  # type: ignore[union-attr]
            self._total, self._pages = int(meta["total"]), max(1, int(meta["last_page"]))  # type: ignore[index]
            self._page_rows = max(1, int(meta.get("per_page") or PAGE_ROWS))  # type: ignore[union-attr]
        except (TypeError, KeyError, ValueError):
            raise self._api.error(
                call=answer.call,
                what=f"answered without the list it was asked for, with {self._api.shape(answer)}",
                advice=f"That is no answer of the Givebutter API: check {self._api.url_setting}.",
                status=answer.status,
            ) from None  # it quotes what came
        if page == 1 and self._total and not rows:
            raise self._api.error(
                call=answer.call,
                what=f"answered with an empty page, though it says that there are {self._total} rows",
                advice="An empty answer is not an empty list: run it again later.",
                status=answer.status,
            )
        self._rows |= rows
        if self._on_page:
            self._on_page(len(self._rows), self._total)
        return len(rows)


class GivebutterResource(ApiResource):
    """Givebutter: reads, and the writes that people start."""

    base_url: str = Field(default="https://api.givebutter.com/v1", description="Address of the Givebutter API.")
    requests_per_second: float = Field(default=5.0, gt=0, description="Pace of the calls.")

    _reads_contacts: bool = PrivateAttr(default=False)

    def contacts(self, updated_after: datetime | None = None, on_page: Progress | None = None) -> list[Json]:
        """All contacts, or those that were updated after a moment; archived ones may be left out by Givebutter.

        Raises:
            ApiError: Givebutter refused, or the list stayed incomplete.
        """
        params = {"updatedAfter": f"{updated_after.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"} if updated_after else {}
        return self._list("/contacts", params, on_page)

    def contact(self, contact_id: int) -> ContactRead:
        """One contact: found, archived or gone."""
        answer = self._connected().request("GET", f"/contacts/{contact_id}", tolerate=_ARCHIVED_OR_GONE)
        if answer.status in _ARCHIVED_OR_GONE:
            self._make_sure_that_contacts_can_be_read()
            state = ContactState.GONE if answer.status == HTTPStatus.NOT_FOUND else ContactState.ARCHIVED
            return ContactRead(contact_id, state)
        contact = _unwrapped(answer.body)
        if not isinstance(contact, dict) or not contact.get("id"):
            raise self._connected().error(
                call=answer.call,
                what=f"answered without a contact, with {self._connected().shape(answer)}",
                advice=f"That is no answer of the Givebutter API: check {GivebutterApi.url_setting}.",
                status=answer.status,
            )
        state = ContactState.ARCHIVED if contact.get("archived_at") else ContactState.FOUND
        return ContactRead(contact_id, state, contact)

    def campaign(self, wanted: str) -> Campaign:
        """The campaign with this id, code or slug, in that order, on whatever page.

        Raises:
            ConfigError: none is; the message lists those that there are.
        """
        campaigns = [_campaign(row) for row in self._list("/campaigns", {}, None)]
        for found in (
            [c for c in campaigns if wanted == str(c.campaign_id)],
            [c for c in campaigns if wanted.casefold() == (c.code or "").casefold()],
            [c for c in campaigns if wanted.casefold() == (c.slug or "").casefold()],
        ):
            if found:
                return found[0]
        seen = "\n".join(f"  {_described(campaign)}" for campaign in campaigns) or "  none"
        msg = (
            f"Givebutter has no campaign whose id, code or slug is {wanted!r}. Nothing was written. "
            f"Put one of these into the year file (givebutter.campaign), or check {GIVEBUTTER_KEY}:\n{seen}"
        )
        raise ConfigError(msg)

    def members(self, campaign_id: int, on_page: Progress | None = None) -> list[Json]:
        """All members of a campaign."""
        return self._list(f"/campaigns/{campaign_id}/members", {}, on_page)

    def archive(self, contact_id: int) -> Outcome:
        """Archive a contact; safe to repeat.

        Raises:
            ApiError: Givebutter refused, and the contact is still active.
        """
        return self._move(contact_id, "DELETE", f"/contacts/{contact_id}", ContactState.ARCHIVED)

    def restore(self, contact_id: int) -> Outcome:
        """Take a contact out of the archive; safe to repeat.

        Raises:
            ApiError: Givebutter refused, and the contact is still archived.
        """
        return self._move(contact_id, "PATCH", f"/contacts/{contact_id}/restore", ContactState.FOUND)

    def update(self, contact_id: int, *, first_name: str, last_name: str, changes: Mapping[str, object]) -> None:
        """Change fields of a contact.

        Givebutter wants the names with every update, also when they stay; `tags` would replace the whole list, for
        tags use `tags_add` and `tags_remove`.
        """
        body: Json = {"first_name": first_name, "last_name": last_name, **changes}
        self._connected().request("PUT", f"/contacts/{contact_id}", body=body)

    def tags_add(self, contact_id: int, tags: Sequence[str]) -> None:
        """Add tags (64 characters at most) to a contact; those it has stay."""
        self._connected().request("POST", f"/contacts/{contact_id}/tags/add", body={"tags": list(tags)})

    def tags_remove(self, contact_id: int, tags: Sequence[str]) -> None:
        """Take tags off a contact; the others stay."""
        self._connected().request("POST", f"/contacts/{contact_id}/tags/remove", body={"tags": list(tags)})

    def _list(self, path: str, params: Mapping[str, str | int], on_page: Progress | None) -> list[Json]:
        return _ListRead(self._connected(), path, params, on_page).rows()

    def _move(self, contact_id: int, method: str, path: str, wanted: ContactState) -> Outcome:
        """Archive or restore; where Givebutter refuses, the contact itself tells whether there was anything to do."""
        try:
            self._connected().request(method, path)
        except ApiError as error:
            if error.retryable or error.status == HTTPStatus.UNAUTHORIZED:
                raise
            state = self.contact(contact_id).state
            if state not in {wanted, ContactState.GONE}:
                raise
            return "already" if state == wanted else "gone"
        return "done"

    def _make_sure_that_contacts_can_be_read(self) -> None:
        """Tell an archived or deleted contact from a key or an address that opens nothing; once per client."""
        if not self._reads_contacts:
            self._connected().request("GET", "/contacts", params={"page": 1, "per_page": 1})
            self._reads_contacts = True

    def _connected(self) -> GivebutterApi:
        if not isinstance(self._api, GivebutterApi):
            self._api = GivebutterApi(
                self._key(),
                self.base_url,
                timeout_seconds=self.timeout_seconds,
                requests_per_second=self.requests_per_second,
            )
        return self._api


def _unwrapped(body: Any) -> Any:
    """A single resource comes bare today and came wrapped in `data` before."""
    return body.get("data", body) if isinstance(body, dict) else body


def _campaign(row: Json) -> Campaign:
    text = {key: str(row[key]) if row.get(key) else None for key in ("code", "slug", "title", "url")}
    return Campaign(int(row["id"]), **text)


def _described(campaign: Campaign) -> str:
    return f"id {campaign.campaign_id}, code {campaign.code}, slug {campaign.slug}: {printable(campaign.title or '')}"
