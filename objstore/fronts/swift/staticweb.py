"""Containers as web sites (StaticWeb): index pages, listings, error pages, for those who come without a token or say `X-Web-Mode`.

    X-Container-Meta-Web-Index           name of the page that stands for what ends in a slash
    X-Container-Meta-Web-Error           what follows the status in the names of error pages: error.html -> 404error.html
    X-Container-Meta-Web-Listings        true: what has no index page is listed
    X-Container-Meta-Web-Listings-CSS    style sheet of listings
    X-Container-Meta-Web-Listings-Label  what listings say instead of the path to the container
    X-Container-Meta-Web-Directory-Type  type of the empty objects that stand for directories

Nothing is shown that the caller might not read or list by itself: each step is an operation of his.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from html import escape
from urllib.parse import quote

from objstore.errors import AccessDenied, NoSuchBucket, NoSuchKey, ObjstoreError
from objstore.fronts.swift.answers import HTML, Answer, Headers, SwiftRefused, refusal
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.cors import CONTAINER
from objstore.fronts.swift.domains import BASE
from objstore.fronts.swift.listing import Item, Wanted
from objstore.fronts.swift.request import SwiftRequest, is_true
from objstore.objects.actions import Action
from objstore.objects.api import ListQuery, Principal

Handler = Callable[[SwiftFront, SwiftRequest], Awaitable[Answer]]
Lister = Callable[[SwiftFront, SwiftRequest, Wanted], Awaitable[Sequence[Item]]]

DIRECTORY_TYPE = "application/directory"
_OF_A_WHOLE = ("range", "if-range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_STYLE = (
    '  <style type="text/css">\n   h1 {font-size: 1em; font-weight: bold;}\n   th {text-align: left; padding: 0px 1em 0px 1em;}\n'
    "   td {padding: 0px 1em 0px 1em;}\n   a {text-decoration: none;}\n  </style>\n"
)
_UNITS = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")


@dataclass(frozen=True)
class Site:
    """What a container says of itself as a web site."""

    index: str
    error: str
    listings: bool
    css: str
    label: str
    directory_type: str

    @property
    def has_pages(self) -> bool:
        """Whether what is no object has an answer."""
        return self.listings or bool(self.index)


@dataclass(frozen=True)
class Web:
    """One request to a site, and how objects are read and containers listed here."""

    front: SwiftFront
    request: SwiftRequest
    site: Site
    read: Handler  # GET or HEAD of an object
    listed: Lister


def applies(request: SwiftRequest) -> bool:
    """Whether a GET or HEAD is to be answered as a web site would."""
    if not request.container or request.temp_url is not None:  # what is signed is one object, not what a site makes of its name
        return False
    return request.who.anonymous or is_true(request.headers.get("x-web-mode", ""))


async def serve(front: SwiftFront, request: SwiftRequest, plainly: Handler, read: Handler, listed: Lister) -> Answer:
    """The answer of a site; `plainly` is what is done for a container that is none."""
    site = await _site_of(front, request)
    if site is None or not (site.has_pages or site.error):
        if request.key or not is_true(request.headers.get("x-web-mode", "")):
            return await plainly(front, request)
        await front.store.bucket(request.who, request.container)
        raise SwiftRefused(404)
    web = Web(front, request, site, read, listed)
    try:
        return await (_object(web) if request.key else _container(web, plainly))
    except ObjstoreError as error:
        answer = refusal(error, known=not request.who.anonymous, realm=request.account)
        if answer.status not in (401, 403, 404) or not site.error:
            raise
        return await _error_page(web, answer) or answer


async def _site_of(front: SwiftFront, request: SwiftRequest) -> Site | None:
    home = request.who.home
    try:
        container = CONTAINER.of(await front.store.find_bucket(Principal(account=home).at(home), request.container))
    except NoSuchBucket:
        return None
    if container is None:
        return None
    said = container.metadata
    return Site(
        said.get("web-index", "").strip(), said.get("web-error", "").strip(), is_true(said.get("web-listings", "")),
        said.get("web-listings-css", "").strip(), said.get("web-listings-label", "").strip(),
        said.get("web-directory-type", "").strip() or DIRECTORY_TYPE,
    )  # fmt: skip


async def _container(web: Web, plainly: Handler) -> Answer:
    request, site = web.request, web.site
    await web.front.store.bucket(request.who, request.container)  # whoever may not list has no home page either, as in Swift
    if not site.has_pages:
        return await plainly(web.front, request)
    if not request.path.endswith("/"):
        return _with_slash(request)
    if site.index:
        try:
            return await _read(web, site.index)
        except NoSuchKey:
            pass
    return await _listing(web, "")


async def _object(web: Web) -> Answer:
    request, site, key = web.request, web.site, web.request.key
    try:
        answer = await web.read(web.front, request)
    except NoSuchKey:
        if not site.has_pages:
            raise
    else:
        if not (site.has_pages and _is_directory(answer, site)):
            return answer
        await _let_go(answer)
    is_folder = key.endswith("/")
    if site.index:
        try:
            answer = await _read(web, f"{key if is_folder else key + '/'}{site.index}")
        except NoSuchKey:
            pass
        else:
            if is_folder:
                return answer
            await _let_go(answer)
            request.key = key
            return _with_slash(request)
    request.key = key
    if is_folder:
        return await _listing(web, key)
    if not await _has_any(web, key + "/"):
        raise NoSuchKey(f"neither an object nor a folder is called {key!r}", key=key)
    return _with_slash(request)


async def _has_any(web: Web, prefix: str) -> bool:
    try:
        page = await web.front.store.list(web.request.who, web.request.container, ListQuery(prefix, "/", "", 1))
    except AccessDenied:
        return False
    return bool(page.objects or page.prefixes)


async def _read(web: Web, key: str) -> Answer:
    """Another object of the container in the place of the one asked for."""
    web.request.key = key
    web.request.query = {}
    return await web.read(web.front, web.request)


async def _error_page(web: Web, answer: Answer) -> Answer | None:
    """The site's own page for a refusal, if it has one that this caller may read."""
    request = web.request
    request.headers = {name: value for name, value in request.headers.items() if name not in _OF_A_WHOLE}
    try:
        found = await _read(web, f"{answer.status}{web.site.error}")
    except ObjstoreError:
        return None
    found.status = answer.status
    found.headers += [header for header in answer.headers if header[0] == b"www-authenticate"]
    return found


def _is_directory(answer: Answer, site: Site) -> bool:
    size = len(answer.body) if answer.length is None else answer.length
    return size <= 1 and (b"content-type", site.directory_type.encode("utf-8", "replace")) in answer.headers


async def _let_go(answer: Answer) -> None:
    closing = getattr(answer.rest, "aclose", None)
    if closing is not None:
        await closing()


def _with_slash(request: SwiftRequest) -> Answer:
    """The same path with a slash behind it; whole, since what begins with two slashes would be another host."""
    return Answer(301, [HTML, (b"location", f"{request.origin}{_place(request)}/".encode("latin-1", "replace"))])


def _place(request: SwiftRequest) -> str:
    place = quote(f"/v1/{request.account}/{request.container}" + (f"/{request.key}" if request.key else ""))
    return place.removeprefix(quote(request.scope.get(BASE, "")))  # its host says that much already


# -- listings -------------------------------------------------------------------------------------------------


async def _listing(web: Web, prefix: str) -> Answer:
    if not web.site.listings:
        raise SwiftRefused(404)
    request = web.request
    await web.front.store.check_access(request.who, request.container, Action.READ_BUCKET, "")
    wanted = Wanted("json", web.front.settings.container_listing_limit, prefix=prefix, delimiter="/")
    items = await web.listed(web.front, request, wanted)
    if prefix and not items:
        raise SwiftRefused(404)
    body = _page(request, web.site, prefix, items).encode("utf-8", "replace")
    headers: Headers = [HTML, (b"x-content-type-options", b"nosniff")]
    return Answer(200, headers, b"" if request.method == "HEAD" else body, length=len(body))


def _page(request: SwiftRequest, site: Site, prefix: str, items: Sequence[Item]) -> str:
    base = site.label or f"/v1/{request.account}/{request.container}"
    title = f"Listing of {escape(f'{base}/{prefix}')}"
    style = f'  <link rel="stylesheet" type="text/css" href="{_style(site.css, prefix)}" />\n' if site.css else _STYLE
    rows = [_row("subdir", name[len(prefix) :]) for name, facts in items if facts is None]
    for name, facts in items:
        if facts is not None and name != prefix:
            kinds = " ".join(f"type-{kind}" for kind in str(facts["content_type"]).lower().split("/"))
            shown = str(facts["last_modified"]).partition(".")[0].replace("T", " ")
            rows.append(_row(kinds, name[len(prefix) :], _human(int(str(facts["bytes"]))), shown))
    parent = _row("", "../", kind_id=' id="parent"') if prefix else ""
    return (
        '<!DOCTYPE HTML PUBLIC "-//W3C//DTD HTML 4.01 Transitional//EN" "http://www.w3.org/TR/html4/loose.dtd">\n'
        f'<html>\n <head>\n  <meta charset="utf-8" />\n  <title>{title}</title>\n{style} </head>\n <body>\n  <h1 id="title">{title}</h1>\n'
        '  <table id="listing">\n   <tr id="heading">\n    <th class="colname">Name</th>\n    <th class="colsize">Size</th>\n'
        f'    <th class="coldate">Date</th>\n   </tr>\n{parent}{"".join(rows)}  </table>\n </body>\n</html>\n'
    )


def _row(kinds: str, name: str, size: str = "&nbsp;", date: str = "&nbsp;", *, kind_id: str = "") -> str:
    """A line of the table.  The name goes percent-encoded into the link, so that no scheme and no quote survives in it."""
    link = quote(name) if not name.startswith("/") else "./" + quote(name)
    date = date if date == "&nbsp;" else escape(date)
    return (
        f'   <tr{kind_id} class="{escape(f"item {kinds}".strip(), quote=True)}">\n'
        f'    <td class="colname"><a href="{link}">{escape(name)}</a></td>\n'
        f'    <td class="colsize">{size}</td>\n    <td class="coldate">{date}</td>\n   </tr>\n'
    )


def _style(css: str, prefix: str) -> str:
    if css.startswith(("/", "http://", "https://")):
        return quote(css, ":/")
    return "../" * prefix.count("/") + quote(css)


def _human(size: int) -> str:
    """1536 -> 2Ki, as Swift's listings have it."""
    value, unit = float(size), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{round(value)}{_UNITS[unit]}"
