"""The simulator's own HTTP API under `/_simulator`: what a person does in the two services' pages.

Uploading an import file, downloading an export, handing in a form, editing a contact, looking up the truth, and letting
calls go wrong: for people who play with `make dev` and for other processes. It has no key: the server listens on this
machine only. Neither real service has anything like it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from mentor_pipeline.simulator.csv_export import contacts_csv, file_name
from mentor_pipeline.simulator.faults import Fault
from mentor_pipeline.simulator.wire import Answer, Call, Endpoint
from mentor_pipeline.simulator.world import WorldError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mentor_pipeline.simulator.faults import FaultPlan
    from mentor_pipeline.simulator.world import World

_FAULTS = TypeAdapter(list[Fault])
_EDITABLE_LISTS = ("emails", "phones", "tags")
_EDITABLE = (
    "external_id", "prefix", "first_name", "preferred_name", "middle_name", "last_name", "suffix", "gender", "note",
    "email_subscribed", "phone_subscribed", "address_subscribed", "custom_fields", *_EDITABLE_LISTS,
)  # fmt: skip


def endpoints(faults: FaultPlan) -> list[Endpoint]:
    """The control endpoints.

    Args:
        faults: the simulator's plan.
    """

    def told(answer: Callable[[World, Call], Answer]) -> Callable[[World, Call], Answer]:
        def check(world: World, call: Call) -> Answer:
            try:
                return answer(world, call)
            except WorldError as error:
                return Answer(422, {"message": str(error)})

        return check

    return [
        Endpoint("simulator.status", "GET", "/status", told(_status)),
        Endpoint("simulator.import", "POST", "/import", told(_import)),
        Endpoint("simulator.export", "GET", "/export.csv", told(_export)),
        Endpoint("simulator.submit", "POST", "/submissions", told(_submit)),
        Endpoint("simulator.edit", "PATCH", "/contacts/{id}", told(_edit)),
        Endpoint("simulator.truth", "GET", "/truth", told(_truth)),
        Endpoint("simulator.faults", "GET", "/faults", lambda _world, _call: Answer(200, faults.told())),
        Endpoint("simulator.set_faults", "PUT", "/faults", told(lambda _world, call: _set_faults(faults, call))),
    ]


def _set_faults(faults: FaultPlan, call: Call) -> Answer:
    try:
        wanted = _FAULTS.validate_json(call.body)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        return Answer(422, {"message": f"Expected a list of faults: {wrong}. The faults stay as they were."})
    faults.set(*wanted)
    return Answer(200, faults.told())


def _status(world: World, _call: Call) -> Answer:
    return Answer(
        200,
        {
            "year": world.program.year,
            "now": world.now(),
            "revision": world.revision,
            "contacts": len(world.active_ids()),
            "archived": len(world.contacts) - len(world.active_ids()),
            "members": len(world.members),
            "submissions": {
                name: sum(submission.form == name for submission in world.submissions.values()) for name in world.forms
            },
        },
    )


def _import(world: World, call: Call) -> Answer:
    try:
        text = call.body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return Answer(422, {"message": f"The file is not UTF-8: {error}. Nothing was imported."})
    return Answer(200, world.import_csv(text))


def _export(world: World, call: Call) -> Answer:
    text = contacts_csv(world, columns="2025" if call.query.get("columns") == "2025" else "2026")
    disposition = f'attachment; filename="{file_name(world)}"'
    return Answer(200, text.encode(), headers={"content-disposition": disposition}, media_type="text/csv")


def _submit(world: World, call: Call) -> Answer:
    body = call.json()
    if body is None or body.get("form") not in world.forms or not isinstance(body.get("fields"), dict):
        message = f'Expected {{"form": one of {list(world.forms)}, "fields": {{field: value}}}}. Nothing was handed in.'
        return Answer(422, {"message": message})
    unknown = sorted(body["fields"].keys() - world.forms[body["form"]].qids.keys())
    if unknown:
        return Answer(422, {"message": f"Form {body['form']} has no field {unknown}. Nothing was handed in."})
    return Answer(201, {"submission_id": world.submit(body["form"], **body["fields"])})


def _edit(world: World, call: Call) -> Answer:
    body = call.json()
    unknown = None if body is None else sorted(body.keys() - set(_EDITABLE))
    if body is None or unknown:
        message = f"Expected an object with fields of {list(_EDITABLE)}; unknown: {unknown}. Nothing was changed."
        return Answer(422, {"message": message})
    if any(not isinstance(body.get(name, []), list) for name in _EDITABLE_LISTS):
        return Answer(422, {"message": f"{list(_EDITABLE_LISTS)} are lists of text. Nothing was changed."})
    contact_id = call.path["id"]
    contact = world.contact(int(contact_id) if contact_id.isdecimal() else 0)
    world.edit_contact(contact.id, **body)
    return Answer(200, contact)


def _truth(world: World, _call: Call) -> Answer:
    return Answer(200, list(world.truth.values()))
