"""Routes of the page. They are public: the files have no secrets, and what they show comes with a key from the API."""

from http import HTTPStatus
from typing import Final

from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.http.asgi import BytesResponse
from router.http.caller import Scope
from router.http.page import PAGE_PATH
from router.protocols.endpoint import SCOPES
from router.protocols.parts import AnyRequest
from router.web.assets import BUILD_COMMAND, VERSION_SIGN, Asset, Assets
from router.web.policy import ASKED_AGAIN, KEPT, PAGE_HEADERS

_TEXT: Final = b"text/plain; charset=utf-8"
_UNBUILT: Final = (
    f"The page's libraries are not built. In mlxr's folder run: {BUILD_COMMAND}\n"
    "It needs npm's registry, once, and Node 20 or newer (or PyPI, from which it takes one). All else works without.\n"
)


def page_routes(assets: Assets) -> tuple[HTTPRouteHandler, ...]:
    """Return the routes of the page."""

    async def show_page(request: AnyRequest) -> ASGIApp:
        """Show the page, which finds by its address what to show."""
        if not assets.has_libraries:
            return _plain(HTTPStatus.SERVICE_UNAVAILABLE, _UNBUILT)
        return _serve(request, assets.page())

    async def show_file(request: AnyRequest, name: FromPath[str]) -> ASGIApp:
        """Send a file of the page; what is no file's name is an address within the page."""
        name = name.lstrip("/")
        if "." not in name.rpartition("/")[2]:
            return await show_page(request)
        if not name.startswith(VERSION_SIGN):
            return _serve(request, assets.find(name))
        # A page that was opened before the files changed asks by its own version, and is given those that there are.
        version, _, name = name.removeprefix(VERSION_SIGN).partition("/")
        return _serve(request, assets.find(name), KEPT if assets.is_current(version) else ASKED_AGAIN)

    # Litestar takes a slash at the end of a path for the path without it.
    return _public(PAGE_PATH)(show_page), _public(PAGE_PATH + "/{name:path}")(show_file)


def _serve(request: AnyRequest, asset: Asset | None, caching: tuple[bytes, bytes] = ASKED_AGAIN) -> BytesResponse:
    if asset is None:
        return _plain(HTTPStatus.NOT_FOUND, "The page has no such file.")
    headers = [*PAGE_HEADERS, caching, (b"etag", asset.etag), (b"vary", b"Accept-Encoding")]
    if asset.etag.decode() in request.headers.get("if-none-match", ""):
        return BytesResponse(status=HTTPStatus.NOT_MODIFIED, headers=[*headers, (b"content-type", asset.media_type)])
    return _whole(asset, headers, is_gzip_taken="gzip" in request.headers.get("accept-encoding", ""))


def _whole(asset: Asset, headers: list[tuple[bytes, bytes]], *, is_gzip_taken: bool) -> BytesResponse:
    headers = [*headers, (b"content-type", asset.media_type)]
    if is_gzip_taken and asset.gzipped is not None:
        return BytesResponse(asset.gzipped, headers=[*headers, (b"content-encoding", b"gzip")])
    return BytesResponse(asset.body, headers=headers)


def _plain(status: HTTPStatus, text: str) -> BytesResponse:
    return BytesResponse(text.encode(), status=status, headers=[*PAGE_HEADERS, ASKED_AGAIN, (b"content-type", _TEXT)])


def _public(path: str) -> HTTPRouteHandler:
    return HTTPRouteHandler(path, http_method=HttpMethod.GET, opt={SCOPES: {Scope.PUBLIC}})
