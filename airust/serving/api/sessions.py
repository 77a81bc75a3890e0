"""/v1/sessions: conversations that the server keeps, each belonging to the key that made it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Annotated, Any, Literal, TypeVar

from fastapi import APIRouter, Query
from pydantic import Field
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from airust.serving.api.answers import json_response
from airust.serving.api.parameters import Body
from airust.serving.api.schemas import (
    HitList,
    MessageBody,
    MessageList,
    MessageTree,
    SessionBody,
    SessionList,
    errors,
)
from airust.serving.callers import caller_of
from airust.serving.changes import Change
from airust.serving.errors import ApiError
from airust.serving.service import service_of
from airust.serving.storage import portable
from airust.serving.storage.sessions import Sessions, StoredMessage

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

Result = TypeVar("Result")
Title = Annotated[str, Field(max_length=500)]
LONGEST = 1 << 20
MARKDOWN = {"text/markdown": {"schema": {"type": "string"}}}
ANY_JSON: dict[str, Any] = {"application/json": {"schema": {}}}


class NewSession(Body):
    """A conversation to begin."""

    title: Title = ""
    system: Annotated[str | None, Field(max_length=LONGEST)] = Field(
        None, description="Instruction before the first message."
    )


class SessionChange(Body):
    """What to change; what is absent stays."""

    title: Title | None = None
    system: Annotated[str | None, Field(max_length=LONGEST)] = None
    head: str | None = Field(None, max_length=40, description="The message to show: a branch.")


class NewMessage(Body):
    """A message by hand: an edited question or answer is a sibling of the old one."""

    parent_id: str | None = Field(None, max_length=40, description="null: at the beginning.")
    role: Literal["system", "user", "assistant"]
    content: Annotated[str, Field(max_length=LONGEST)]
    details: dict[str, Any] = Field({}, description="As answers have them: model, token_ids, ...")


class RemovedMessage(NewMessage):
    """As it was."""

    id: Annotated[str, Field(pattern=r"^msg_[0-9a-f]{1,36}$")]
    created_at: Annotated[float, Field(ge=0, lt=1e15, allow_inf_nan=False)]
    details: dict[str, Any]

    def stored(self) -> StoredMessage:
        """As the store has it."""
        return StoredMessage(
            self.id, self.parent_id, self.role, self.content, self.created_at, self.details
        )


class PutBack(Body):
    """Messages that were removed."""

    data: Annotated[list[RemovedMessage], Field(min_length=1, max_length=100_000)]
    head: str | None = Field(None, max_length=40)


async def _do(http: HttpRequest, work: Callable[[Sessions, str], Result]) -> Result:
    """Work with the store, in a thread, for the caller."""
    store = (await service_of(http).storage()).sessions
    return await asyncio.to_thread(work, store, caller_of(http).key_id)


def _tell(http: HttpRequest, session_id: str | None, change: Change) -> None:
    """The caller's other tabs."""
    service_of(http).changes.tell(caller_of(http).key_id, session_id, change)


@router.get("", response_model=SessionList, responses=errors(400))
async def list_sessions(
    http: HttpRequest,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    before: Annotated[float | None, Query(description="updated_at of the last one seen.")] = None,
) -> Response:
    """The newest conversations first."""
    found = await _do(http, lambda store, owner: store.newest(owner, limit, before))
    return json_response({"object": "list", "data": [portable.session_body(s) for s in found]})


@router.post("", response_model=SessionBody, status_code=201, responses=errors(400))
async def create_session(body: NewSession, http: HttpRequest) -> Response:
    """Begin a conversation."""
    made = await _do(http, lambda store, owner: store.create(owner, body.title, body.system))
    _tell(http, made.id, "created")
    return json_response(portable.session_body(made), 201)


@router.get("/search", response_model=HitList, responses=errors(400))
async def search(
    http: HttpRequest,
    q: Annotated[str, Query(min_length=1, max_length=200)],
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """Messages that hold all the words, in any order."""
    hits = await _do(http, lambda store, owner: store.search(owner, q, limit))
    data = [{name: getattr(hit, name) for name in hit.__slots__} for hit in hits]
    return json_response({"object": "list", "data": data})


@router.get("/export", responses={200: {"content": ANY_JSON}, **errors()})
async def export_all(http: HttpRequest) -> Response:
    """Every conversation with every branch, for import elsewhere."""

    def collect(store: Sessions, owner: str) -> bytes:
        found = ((s, store.tree(owner, s.id)) for s in store.newest(owner, limit=1_000_000))
        return json.dumps(portable.write(found), ensure_ascii=False).encode()

    data = await _do(http, collect)
    return Response(data, media_type="application/json", headers=_file("sessions.json"))


@router.post("/import", response_model=SessionList, status_code=201, responses=errors(400))
async def import_all(http: HttpRequest, body: dict[str, Any] | list[Any]) -> Response:
    """Take in an export, or the ``sessions.json`` of other programs. All of it, or nothing."""

    def put(store: Sessions, owner: str) -> list[dict[str, Any]]:
        return [portable.session_body(s) for s in store.put(owner, portable.read(body))]

    data = await _do(http, put)
    _tell(http, None, "imported")
    return json_response({"object": "list", "data": data}, 201)


@router.get("/{session_id}", response_model=SessionBody, responses=errors(404))
async def get_session(session_id: str, http: HttpRequest) -> Response:
    """One conversation."""
    found = await _do(http, lambda store, owner: store.get(owner, session_id))
    return json_response(portable.session_body(found))


@router.patch("/{session_id}", response_model=SessionBody, responses=errors(400, 404))
async def change_session(session_id: str, body: SessionChange, http: HttpRequest) -> Response:
    """Rename it, change its instruction, or show another branch."""
    given = body.model_dump(exclude_unset=True)
    if given.get("title", "") is None:
        raise ApiError(400, "title must be a text.", "invalid_value", "title")
    changed = await _do(http, lambda store, owner: store.change(owner, session_id, **given))
    _tell(http, session_id, "updated")
    return json_response(portable.session_body(changed))


@router.delete("/{session_id}", status_code=204, responses=errors(404))
async def delete_session(session_id: str, http: HttpRequest) -> Response:
    """Remove it with all its messages."""
    await _do(http, lambda store, owner: store.delete(owner, session_id))
    _tell(http, session_id, "deleted")
    return Response(status_code=204)


@router.get("/{session_id}/messages", response_model=MessageTree, responses=errors(404))
async def list_messages(session_id: str, http: HttpRequest) -> Response:
    """The whole tree, parents before their children."""
    session, found = await _do(
        http, lambda store, owner: (store.get(owner, session_id), store.tree(owner, session_id))
    )
    data = [portable.message_body(message) for message in found]
    return json_response({"object": "list", "head": session.head, "data": data})


@router.post(
    "/{session_id}/messages", response_model=MessageBody, status_code=201,
    responses=errors(400, 404),
)  # fmt: skip
async def add_message(session_id: str, body: NewMessage, http: HttpRequest) -> Response:
    """Add a message by hand, without an answer; /v1/responses gives answers."""
    added = await _do(
        http,
        lambda store, owner: store.add(
            owner, session_id, body.parent_id, body.role, body.content, body.details
        ),
    )
    _tell(http, session_id, "messages")
    return json_response(portable.message_body(added), 201)


@router.delete(
    "/{session_id}/messages/{message_id}", response_model=MessageList, responses=errors(404)
)
async def remove_message(session_id: str, message_id: str, http: HttpRequest) -> Response:
    """Remove a message and all below it; the answer is what has gone, for ``restore``."""
    gone = await _do(http, lambda store, owner: store.remove(owner, session_id, message_id))
    _tell(http, session_id, "messages")
    return json_response({"object": "list", "data": [portable.message_body(m) for m in gone]})


@router.post("/{session_id}/restore", status_code=204, responses=errors(400, 404, 409))
async def restore_messages(session_id: str, body: PutBack, http: HttpRequest) -> Response:
    """Put messages back that were removed."""
    found = [message.stored() for message in body.data]
    await _do(http, lambda store, owner: store.put_back(owner, session_id, found, body.head))
    _tell(http, session_id, "messages")
    return Response(status_code=204)


@router.get("/{session_id}/export", responses={200: {"content": MARKDOWN}, **errors(400, 404)})
async def export_one(
    session_id: str,
    http: HttpRequest,
    format: Annotated[Literal["markdown", "json"], Query()] = "markdown",
    leaf: Annotated[str | None, Query(max_length=40, description="End of the branch.")] = None,
) -> Response:
    """One branch as Markdown, or the whole tree as JSON."""
    if format == "json":
        session, tree = await _do(
            http, lambda store, owner: (store.get(owner, session_id), store.tree(owner, session_id))
        )
        data = json.dumps(portable.write([(session, tree)]), ensure_ascii=False).encode()
        return Response(data, media_type="application/json", headers=_file("session.json"))

    def branch(store: Sessions, owner: str) -> str:
        session = store.get(owner, session_id)
        return portable.markdown(session, store.path(owner, session_id, leaf or session.head))

    text = await _do(http, branch)
    return Response(text, media_type="text/markdown", headers=_file("session.md"))


def _file(name: str) -> dict[str, str]:
    return {"content-disposition": f'attachment; filename="{name}"'}
