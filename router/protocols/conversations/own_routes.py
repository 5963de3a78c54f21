"""mlxr's own routes of kept conversations: lists, search, titles, branches, sizes, exports, deleting all."""

import contextlib
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Annotated, Any, Final, Literal

from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import UNSET, Meta

from registry.threads import in_thread
from router.errors import ContextNotFoundError, ConversationNotFoundError, InvalidRequestError
from router.http.asgi import BytesResponse, json_reply
from router.http.caller import Scope
from router.http.dialect import OPENAI
from router.http.streaming import NDJSON, EventStream
from router.protocols.control.api import MLXR_API
from router.protocols.conversations.deleting import end_answers
from router.protocols.conversations.exporting import (
    MARKDOWN,
    header_line,
    json_line,
    markdown_of,
)
from router.protocols.conversations.importing import Imported, read_conversations
from router.protocols.conversations.own_schemas import (
    BranchAnswer,
    BranchItem,
    ConversationChange,
    ConversationEntry,
    ConversationList,
    ConversationSizes,
    ConversationTree,
    DeletedConversations,
    ImportProblem,
    ImportReport,
)
from router.protocols.endpoint import BINARY, Answer, Body, Parameter
from router.protocols.fields.carried import carried_context
from router.protocols.fields.support import decode_body
from router.protocols.parts import AnyRequest, ContextsPart, ConversationsPart, ServingPart
from router.protocols.queries import AFTER, known_parameters, limit_in, page_limit
from router.protocols.responses.items import fresh_id
from router.stores.contexts import Contexts
from router.stores.conversations import SOURCE_KEY, Branches, Conversation, ConversationItem, Conversations

_ALL: Final = "/v1/mlxr/conversations"
_ONE: Final = f"{_ALL}/{{conversation_id:str}}"
_MAX_PAGE: Final = 200
_MAX_QUERY_CHARS: Final = 1_000
_MAX_PROBLEMS: Final = 100
_QUERY: Final = Parameter(
    name="q",
    type=Annotated[str, Meta(max_length=_MAX_QUERY_CHARS)],
    what="Words, all of which a title or a message has; in quotes, a phrase.",
)
_ARCHIVED: Final = Parameter(name="archived", type=bool, what="Those that are archived instead of the others.")
_FORMAT: Final = Parameter(
    name="format", type=Literal["jsonl", "markdown"], what="JSON Lines with all branches, or Markdown; jsonl."
)


@MLXR_API.get(
    _ALL,
    ConversationList,
    query=(_QUERY, _ARCHIVED, page_limit(_MAX_PAGE), AFTER),
    scope=Scope.INFERENCE,
    is_private=True,
)
async def list_conversations(request: AnyRequest, conversations: ConversationsPart) -> ASGIApp:
    """List kept conversations, pinned ones and the last ones used first, or search them, the best first."""
    given = known_parameters(request, "q", "archived", "limit", "after")
    limit, is_archived = limit_in(given, most=_MAX_PAGE, default=50), _is_true(given, "archived")
    query = given.get("q", "").strip()
    if len(query) > _MAX_QUERY_CHARS:
        raise InvalidRequestError(f"q: at most {_MAX_QUERY_CHARS} characters", "q")
    if query:
        if "after" in given:
            raise InvalidRequestError("after: what was found is one page; raise limit", "after")
        hits = await conversations.kept.search(query, is_archived=is_archived, limit=limit + 1)
        entries = [ConversationEntry.found(hit) for hit in hits]
    else:
        kept = await conversations.kept.page(is_archived=is_archived, after=given.get("after"), limit=limit + 1)
        entries = [ConversationEntry.of(each) for each in kept]
    return json_reply(ConversationList(conversations=entries[:limit], has_more=len(entries) > limit))


@MLXR_API.delete(_ALL, DeletedConversations, scope=Scope.INFERENCE, is_private=True)
async def delete_conversations(serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Forget all conversations of the key that asks, for administrators everybody's."""
    num_deleted, running = await conversations.kept.delete_all()
    end_answers(serving, running)
    return json_reply(DeletedConversations(num_deleted))


@MLXR_API.get(f"{_ALL}/sizes", ConversationSizes, scope=Scope.INFERENCE, is_private=True)
async def get_conversation_sizes(conversations: ConversationsPart) -> ASGIApp:
    """Tell what kept conversations and stored responses take."""
    return json_reply(ConversationSizes.of(await conversations.kept.sizes()))


@MLXR_API.get(
    f"{_ALL}/export",
    answers={200: Answer((bytes,), NDJSON.decode())},
    scope=Scope.INFERENCE,
    is_private=True,
)
async def export_conversations(conversations: ConversationsPart, contexts: ContextsPart) -> ASGIApp:
    """Return all conversations of the key that asks, a line of JSON each behind the one that says what they are."""
    ids = await conversations.kept.ids()
    headers = _file_headers("conversations.jsonl")
    return EventStream(_lines_of(conversations, contexts, ids), dialect=OPENAI, media_type=NDJSON, headers=headers)


@MLXR_API.post(f"{_ALL}/import", ImportReport, body=Body(bytes, BINARY), scope=Scope.INFERENCE, is_private=True)
async def import_conversations(request: AnyRequest, serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Keep the conversations of a file, of mlxr or another program; those that are there already are left alone."""
    conversations.kept.check_usable()
    body = await serving.read_raw(request)
    reading = await in_thread(partial(read_conversations, body))
    known, num_known, num_imported = await conversations.kept.sources(), 0, 0
    for each in reading.conversations:
        if each.source_id in known:
            num_known += 1
            continue
        await conversations.kept.restore(_branches_of(each))
        known.add(each.source_id)
        num_imported += 1
    problems = [ImportProblem(name=each.name, reason=each.reason) for each in reading.problems]
    return json_reply(
        ImportReport(
            num_imported=num_imported,
            num_known=num_known,
            num_failed=len(problems),
            problems=problems[:_MAX_PROBLEMS],
        )
    )


@MLXR_API.get(_ONE, ConversationTree, scope=Scope.INFERENCE, is_private=True)
async def get_conversation_tree(conversation_id: FromPath[str], conversations: ConversationsPart) -> ASGIApp:
    """Return a conversation with all of its branches, and what its answers took."""
    branches = await conversations.kept.branches(conversation_id)
    return json_reply(
        ConversationTree(
            conversation=ConversationEntry.of(branches.conversation),
            items=[BranchItem.of(each) for each in branches.items],
            answers=[BranchAnswer.of(each) for each in branches.answers],
        )
    )


@MLXR_API.patch(_ONE, ConversationEntry, body=ConversationChange, scope=Scope.INFERENCE, is_private=True)
async def change_conversation(
    request: AnyRequest, conversation_id: FromPath[str], serving: ServingPart, conversations: ConversationsPart
) -> ASGIApp:
    """Set a conversation's title, pin or archive it, or put its head on another branch."""
    body = decode_body(await serving.read_raw(request), ConversationChange)
    changed = await conversations.kept.change(conversation_id, **_fields_of(body))
    return json_reply(ConversationEntry.of(changed))


@MLXR_API.get(
    f"{_ONE}/export",
    answers={200: Answer((bytes,), NDJSON.decode())},
    query=(_FORMAT,),
    scope=Scope.INFERENCE,
    is_private=True,
)
async def export_conversation(
    request: AnyRequest, conversation_id: FromPath[str], conversations: ConversationsPart, contexts: ContextsPart
) -> ASGIApp:
    """Return a conversation as JSON Lines with all branches, or as Markdown as it stands."""
    wanted = known_parameters(request, "format").get("format", "jsonl")
    if wanted == "markdown":
        conversation = await conversations.kept.get(conversation_id)
        path = await conversations.kept.path(conversation_id)
        text = markdown_of(conversation, path, await _narratives_of(contexts, path))
        return _file(text, MARKDOWN, f"{conversation_id}.md")
    if wanted != "jsonl":
        raise InvalidRequestError(f"format: {wanted!r:.40} is not known; send jsonl or markdown", "format")
    line = await _line_of(conversations, contexts, conversation_id)
    return _file(header_line() + line, NDJSON.decode(), f"{conversation_id}.jsonl")


def _branches_of(read: Imported) -> Branches:
    newest = max(each.created_at for each in read.items)
    conversation = Conversation(
        conversation_id=fresh_id("conv"),
        created_at=read.created_at,
        updated_at=max(newest, read.created_at),
        title=read.title,
        is_title_own=bool(read.title),
        metadata=read.metadata | {SOURCE_KEY: read.source_id},
        is_pinned=read.is_pinned,
        is_archived=read.is_archived,
        head_item_id=read.head_item_id,
    )
    return Branches(conversation=conversation, items=read.items, answers=read.answers)


def _fields_of(body: ConversationChange) -> dict[str, Any]:
    """Return what of a conversation is to be changed."""
    fields = {
        name: value
        for name in ("is_pinned", "is_archived", "head_item_id")
        if (value := getattr(body, name)) is not UNSET
    }
    if body.title is not UNSET:
        fields |= {"title": body.title or "", "is_title_own": body.title is not None}
    return fields


async def _lines_of(conversations: Conversations, contexts: Contexts, ids: list[str]) -> AsyncIterator[bytes]:
    """Yield an export line by line; what is deleted meanwhile is left out."""
    yield header_line()
    for conversation_id in ids:
        try:
            line = await _line_of(conversations, contexts, conversation_id)
        except ConversationNotFoundError:
            continue
        yield line


async def _line_of(conversations: Conversations, contexts: Contexts, conversation_id: str) -> bytes:
    branches = await conversations.kept.branches(conversation_id)
    return json_line(branches, await _narratives_of(contexts, branches.items))


async def _narratives_of(contexts: Contexts, items: Iterable[ConversationItem]) -> dict[str, str]:
    """Return what models saw instead of older turns, by the ids of the items that say so, as far as it is kept."""
    narratives: dict[str, str] = {}
    for item in (each.item for each in items if each.item["type"] == "compaction"):
        narrative: str | None = None
        with contextlib.suppress(InvalidRequestError):  # it was imported, and another server has made it
            narrative = carried_context(item["encrypted_content"], "encrypted_content").narrative
        if narrative is None and "context_id" in item:
            with contextlib.suppress(ContextNotFoundError):
                narrative = (await contexts.get(item["context_id"])).narrative
        if narrative is not None:
            narratives[item["id"]] = narrative
    return narratives


def _file_headers(name: str) -> list[tuple[bytes, bytes]]:
    """Return the headers of a file to keep, which no browser shows as a page."""
    return [
        (b"content-disposition", f'attachment; filename="{name}"'.encode()),
        (b"x-content-type-options", b"nosniff"),
    ]


def _file(body: bytes, media_type: str, name: str) -> BytesResponse:
    return BytesResponse(body, headers=[(b"content-type", media_type.encode()), *_file_headers(name)])


def _is_true(given: dict[str, str], name: str) -> bool:
    text = given.get(name, "false").lower()
    if text not in {"true", "false"}:
        raise InvalidRequestError(f"{name}: {text!r:.40} is neither true nor false", name)
    return text == "true"


OWN_ROUTES: Final = (
    list_conversations,
    delete_conversations,
    get_conversation_sizes,
    export_conversations,
    import_conversations,
    get_conversation_tree,
    change_conversation,
    export_conversation,
)
