"""Givebutter's HTTP API over the world: campaigns, members, contacts, tags, archive and restore.

Serves the real service's paging (`data`, `links`, `meta`), filters, unwrapped single resources and error bodies.
There is no phone or external-id filter, `scope` is ignored, archived contacts are in no list, and members know no
contact. What the vendor leaves unknown follows the world's `Behaviour`. CSV files are not served here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

from mentor_pipeline.simulator.records import Address
from mentor_pipeline.simulator.wire import Answer, Call, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mentor_pipeline.simulator.records import Campaign, Contact, Member
    from mentor_pipeline.simulator.world import World

_Value = TypeVar("_Value")

DEFAULT_PER_PAGE, MAX_PER_PAGE, TAG_LIMIT, NAME_LIMIT = 20, 100, 64, 255

_OBJECT_TAGS_EVERY: Final = 997
_TEXT_TAG_EVERY: Final = 1499
"""How rarely, by contact id, the tolerated variants of `tags` appear."""

_TIME_FILTERS: Final[Mapping[str, Callable[[Contact, datetime], bool]]] = {
    "updatedAfter": lambda contact, moment: contact.updated_at > moment,
    "updatedBefore": lambda contact, moment: contact.updated_at < moment,
    "createdAfter": lambda contact, moment: contact.created_at > moment,
    "createdBefore": lambda contact, moment: contact.created_at < moment,
}
_TEXT_FILTERS: Final[Mapping[str, Callable[[Contact, str], bool]]] = {
    "email": lambda contact, text: any(email.lower() == text for email in contact.emails),
    "primaryEmail": lambda contact, text: bool(contact.emails) and contact.emails[0].lower() == text,
    "firstName": lambda contact, text: (contact.first_name or "").lower() == text,
    "lastName": lambda contact, text: (contact.last_name or "").lower() == text,
    "tags": lambda contact, text: any(tag.lower() in text.split(",") for tag in contact.tags),
    "type": lambda contact, text: text == ("company" if contact.company else "individual"),
}
_WRITABLE: Final = (
    "external_id",
    "prefix",
    "first_name",
    "preferred_name",
    "middle_name",
    "last_name",
    "suffix",
    "gender",
    "pronouns",
    "dob",
    "company",
    "employer",
    "title",
    "website_url",
    "twitter_url",
    "linkedin_url",
    "facebook_url",
    "tiktok_url",
    "instagram_url",
    "note",
)


def endpoints(key: str) -> list[Endpoint]:
    """Givebutter's endpoints for an account with this API key."""

    def guarded(answer: Callable[[World, Call], Answer]) -> Callable[[World, Call], Answer]:
        def check(world: World, call: Call) -> Answer:
            if call.headers.get("authorization") != f"Bearer {key}":
                return refusal(401, "Unauthenticated.")
            return answer(world, call)

        return check

    return [
        Endpoint("givebutter.campaigns", "GET", "/campaigns", guarded(_campaigns)),
        Endpoint("givebutter.campaign", "GET", "/campaigns/{id}", guarded(_campaign)),
        Endpoint("givebutter.members", "GET", "/campaigns/{id}/members", guarded(_members)),
        Endpoint("givebutter.contacts", "GET", "/contacts", guarded(_contacts)),
        Endpoint("givebutter.contact", "GET", "/contacts/{id}", guarded(_contact)),
        Endpoint("givebutter.update", "PUT", "/contacts/{id}", guarded(_update)),
        Endpoint("givebutter.archive", "DELETE", "/contacts/{id}", guarded(_archive)),
        Endpoint("givebutter.restore", "PATCH", "/contacts/{id}/restore", guarded(_restore)),
        Endpoint("givebutter.tags", "POST", "/contacts/{id}/tags/{how}", guarded(_tags)),
    ]


def _time(moment: datetime | None) -> str | None:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000000Z") if moment else None


def refusal(status: int, message: str) -> Answer:
    """An error as Givebutter tells it."""
    return Answer(status, {"message": message})


def _not_found(what: str) -> Answer:
    return refusal(404, f"No query results for model [{what}].")


def _forbidden() -> Answer:
    return refusal(403, "This action is unauthorized.")


def _invalid(errors: Mapping[str, list[str]]) -> Answer:
    first = next(iter(errors.values()))[0]
    others = sum(map(len, errors.values())) - 1
    message = f"{first} (and {others} more error{'s' if others > 1 else ''})" if others else first
    return Answer(422, {"message": message, "errors": errors})


def _page(call: Call, total: int, rows: Callable[[int, int], Sequence[object]]) -> Answer:
    """One page of a list; the links carry the page number and nothing else, as Laravel's do."""
    per_page = call.number("per_page", DEFAULT_PER_PAGE, at_least=1, at_most=MAX_PER_PAGE)
    page = call.number("page", 1, at_least=1)
    gone = min(total, call.rows_gone)
    start = max(0, (page - 1) * per_page + call.rows_shifted)
    data = rows(gone + start, gone + start + per_page)
    total -= gone
    last = max(1, -(-total // per_page))
    return Answer(
        200,
        {
            "data": data,
            "links": {
                "first": f"{call.url}?page=1",
                "last": f"{call.url}?page={last}",
                "prev": f"{call.url}?page={page - 1}" if page > 1 else None,
                "next": f"{call.url}?page={page + 1}" if page < last else None,
            },
            "meta": {
                "current_page": page,
                "from": start + 1 if data else None,
                "last_page": last,
                "path": call.url,
                "per_page": per_page,
                "to": start + len(data) if data else None,
                "total": total,
            },
        },
    )


# Campaigns and members


def _campaign_wire(world: World, campaign: Campaign) -> dict[str, object]:
    members = [member for member in world.members.values() if member.campaign_id == campaign.id]
    return {
        "id": campaign.id,
        "code": campaign.code,
        "slug": campaign.slug,
        "type": "fundraise",
        "title": campaign.title,
        "description": None,
        "goal": campaign.goal,
        "raised": float(sum(member.raised for member in members)),
        "donors": sum(member.donors for member in members),
        "currency": "USD",
        "status": "active",
        "url": f"https://give.example.org/{campaign.slug}",
        "created_at": _time(campaign.created_at),
        "updated_at": _time(campaign.created_at),
    }


def _campaigns(world: World, call: Call) -> Answer:
    return _page(
        call,
        len(world.campaigns),
        lambda start, end: [_campaign_wire(world, campaign) for campaign in world.campaigns[start:end]],
    )


def _find_campaign(world: World, call: Call) -> Campaign | None:
    return next((campaign for campaign in world.campaigns if str(campaign.id) == call.path["id"]), None)


def _campaign(world: World, call: Call) -> Answer:
    campaign = _find_campaign(world, call)
    return _not_found("Campaign") if campaign is None else Answer(200, _campaign_wire(world, campaign))


def _members(world: World, call: Call) -> Answer:
    campaign = _find_campaign(world, call)
    if campaign is None:
        return _not_found("Campaign")
    members = [member for member in world.members.values() if member.campaign_id == campaign.id]
    return _page(call, len(members), lambda start, end: [_member_wire(member) for member in members[start:end]])


def _member_wire(member: Member) -> dict[str, object]:
    return {
        "id": member.id,
        "first_name": member.first_name,
        "last_name": member.last_name,
        "display_name": member.display_name or f"{member.first_name} {member.last_name}",
        "email": member.email,
        "phone": member.phone,
        "picture": None,
        "raised": float(member.raised),
        "goal": float(member.goal),
        "donors": member.donors,
        "items": 0,
        "url": member.url,
        "created_at": _time(member.created_at),
        "updated_at": _time(member.updated_at),
    }


# Reading contacts


def _contacts(world: World, call: Call) -> Answer:
    filters: list[Callable[[Contact], bool]] = []
    errors: dict[str, list[str]] = {}
    for name, check_time in _TIME_FILTERS.items():
        if name in call.query:
            moment = _moment(call.query[name])
            if moment is None:
                errors[name] = [f"The {name} is not a valid date."]
            else:
                filters.append(_bound(check_time, moment))
    if errors:
        return _invalid(errors)
    filters += [_bound(check, call.query[name].lower()) for name, check in _TEXT_FILTERS.items() if name in call.query]
    contacts = world.contacts
    ids = world.active_ids()
    if filters:
        ids = [contact_id for contact_id in ids if all(passes(contacts[contact_id]) for passes in filters)]
    return _page(
        call,
        len(ids),
        lambda start, end: [_contact_wire(world, contacts[contact_id]) for contact_id in islice(ids, start, end)],
    )


def _bound(check: Callable[[Contact, _Value], bool], value: _Value) -> Callable[[Contact], bool]:
    return lambda contact: check(contact, value)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _find(world: World, call: Call) -> Contact | None:
    text = call.path["id"]
    return world.contacts.get(int(text)) if text.isdecimal() else None


def _contact(world: World, call: Call) -> Answer:
    contact = _find(world, call)
    if contact is None:
        return _not_found("Contact")
    if contact.archived_at is not None and world.behaviour.archived_is_forbidden:
        return _forbidden()
    return Answer(200, _contact_wire(world, contact))


def _contact_wire(world: World, contact: Contact) -> dict[str, object]:
    emails: list[dict[str, str]] | None = [{"type": "personal", "value": email} for email in contact.emails]
    if not emails and world.behaviour.tolerated_variants:
        emails = None
    addresses = [_address_wire(address, primary=number == 0) for number, address in enumerate(contact.addresses)]
    return {
        "id": contact.id,
        "external_id": contact.external_id,
        "type": "company" if contact.company else "individual",
        "prefix": contact.prefix,
        "first_name": contact.first_name,
        "preferred_name": contact.preferred_name,
        "middle_name": contact.middle_name,
        "last_name": contact.last_name,
        "suffix": contact.suffix,
        "gender": contact.gender,
        "pronouns": contact.pronouns,
        "dob": contact.dob,
        "company": contact.company,
        "employer": contact.employer,
        "title": contact.title,
        "website_url": contact.website_url,
        "twitter_url": contact.twitter_url,
        "linkedin_url": contact.linkedin_url,
        "facebook_url": contact.facebook_url,
        "tiktok_url": contact.tiktok_url,
        "instagram_url": contact.instagram_url,
        "emails": emails,
        "phones": [{"type": "mobile", "value": phone} for phone in contact.phones],
        "primary_email": contact.emails[0] if contact.emails else None,
        "primary_phone": contact.phones[0] if contact.phones else None,
        "note": contact.note,
        "addresses": addresses,
        "primary_address": addresses[0] if addresses else None,
        "stats": {
            "total_contributions": float(contact.total_contributions),
            "recurring_contributions": float(contact.recurring_contributions),
        },
        "last_donation_amount": None if contact.last_donation_amount is None else float(contact.last_donation_amount),
        "tags": _tags_wire(world, contact),
        "custom_fields": list(_custom_fields_wire(world, contact)),
        "is_email_subscribed": contact.email_subscribed,
        "is_phone_subscribed": contact.phone_subscribed,
        "is_address_subscribed": contact.address_subscribed,
        "email_opt_in": contact.email_subscribed,
        "sms_opt_in": contact.phone_subscribed,
        "contact_since": _time(contact.contact_since),
        "archived_at": _time(contact.archived_at),
        "created_at": _time(contact.created_at),
        "updated_at": _time(contact.updated_at),
    }


def _address_wire(address: Address, *, primary: bool) -> dict[str, object]:
    return {
        "address_1": address.line_1,
        "address_2": address.line_2,
        "city": address.city,
        "state": address.state,
        "zipcode": address.postal_code,
        "country": address.country,
        "type": "home",
        "is_primary": primary,
    }


def _tags_wire(world: World, contact: Contact) -> object:
    if world.behaviour.tolerated_variants and contact.tags:
        if contact.id % _OBJECT_TAGS_EVERY == 0:
            return [{"id": number, "name": tag} for number, tag in enumerate(contact.tags, start=1)]
        if contact.id % _TEXT_TAG_EVERY == 0 and len(contact.tags) == 1:
            return contact.tags[0]
    return contact.tags


def _custom_fields_wire(world: World, contact: Contact) -> Iterator[dict[str, object]]:
    for label, value in contact.custom_fields.items():
        spec = world.custom_fields[label]
        yield {
            "id": contact.id * 100 + spec.id % 100,
            "field_id": spec.id,
            "title": label,
            "type": spec.type,
            "value": value,
        }


# Changing contacts


def _for_change(world: World, call: Call) -> Contact | Answer:
    """The contact to change, or the answer when there is none or it is archived."""
    contact = _find(world, call)
    if contact is None:
        return _not_found("Contact")
    return _forbidden() if contact.archived_at is not None else contact


def _update(world: World, call: Call) -> Answer:
    contact = _for_change(world, call)
    if isinstance(contact, Answer):
        return contact
    body = call.json() or {}
    errors = _update_errors(world, contact, body)
    if errors:
        return _invalid(errors)
    changes: dict[str, Any] = {name: body[name] or None for name in _WRITABLE if name in body}
    for name in ("emails", "phones"):
        if name in body:
            changes[name] = [entry["value"] if isinstance(entry, dict) else entry for entry in body[name] or []]
    if "tags" in body:
        changes["tags"] = list(dict.fromkeys(body["tags"] or []))
    if "addresses" in body:
        changes["addresses"] = [
            Address(
                entry.get("address_1", ""),
                entry.get("city", ""),
                entry.get("state", ""),
                entry.get("zipcode", ""),
                entry.get("address_2"),
                entry.get("country") or "US",
            )
            for entry in body["addresses"] or []
        ]
    world.edit_contact(contact.id, **changes)
    return Answer(200, _contact_wire(world, contact))


def _update_errors(world: World, contact: Contact, body: Mapping[str, Any]) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in ("first_name", "last_name"):
        spoken = name.replace("_", " ")
        if not body.get(name):
            errors[name] = [f"The {spoken} field is required."]
        elif len(body[name]) > NAME_LIMIT:
            errors[name] = [f"The {spoken} may not be greater than {NAME_LIMIT} characters."]
    errors.update(_tag_errors(body["tags"]) if body.get("tags") else {})
    external_id = body.get("external_id")
    if external_id and world.external_id_holder(external_id, besides=contact.id):
        errors["external_id"] = [f"A contact with External ID [{external_id}] already exists."]
    return errors


def _tag_errors(tags: object) -> dict[str, list[str]]:
    if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
        return {"tags": ["The tags must be an array of strings."]}
    return {
        f"tags.{number}": [f"The tags.{number} may not be greater than {TAG_LIMIT} characters."]
        for number, tag in enumerate(tags)
        if len(tag) > TAG_LIMIT
    }


def _archive(world: World, call: Call) -> Answer:
    contact = _for_change(world, call)
    if isinstance(contact, Answer):
        return contact
    world.archive_contact(contact.id)
    if world.behaviour.archive_answers_no_content:
        return Answer(204)
    return Answer(200, _contact_wire(world, contact))


def _restore(world: World, call: Call) -> Answer:
    contact = _find(world, call)
    if contact is None:
        return _not_found("Contact")
    world.restore_contact(contact.id)
    return Answer(200, _contact_wire(world, contact))


def _tags(world: World, call: Call) -> Answer:
    contact = _for_change(world, call)
    if isinstance(contact, Answer):
        return contact
    body = call.json() or {}
    errors = _tag_errors(body["tags"]) if "tags" in body else {"tags": ["The tags field is required."]}
    if errors:
        return _invalid(errors)
    tags: list[str] = body["tags"]
    match call.path["how"]:
        case "add":
            world.add_tags(contact.id, tags)
        case "remove":
            world.remove_tags(contact.id, tags)
        case "sync":
            if contact.tags != tags:
                world.edit_contact(contact.id, tags=list(dict.fromkeys(tags)))
        case _:
            return _not_found("Route")
    return Answer(200, _contact_wire(world, contact))
