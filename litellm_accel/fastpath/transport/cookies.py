"""Cookies, kept in the jar of LiteLLM's own HTTP client and sent from it, by that client's rules.

Both are the work of ``http.cookiejar``, which reads a message, dates and addresses each time: a tenth of a millisecond.
Its verdict on a cookie depends on all but the cookie's value and the moment at which it expires. So the library is
asked once for each kind of cookie, and other values and moments are put into what it has made of that kind.
"""

from __future__ import annotations

import copy
import functools
import operator
import re
import time
from collections.abc import Sequence
from http import cookiejar
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any

import httpx

from litellm_accel.hot import chat

_MAX_KINDS = 256
# The first date among a cookie's attributes, and what is before and after it.
_EXPIRES = re.compile(r"((?:[^;]*;)*?\s*expires\s*=)([^;]*)(.*)", re.IGNORECASE)
_SECONDS = re.compile(r"(\w{3}, \d\d[ -]\w{3}[ -]\d{2,4} \d\d:\d\d:)([0-5]\d) GMT", re.ASCII)
_POLICY_FACTS = operator.attrgetter(*(name for name in vars(DefaultCookiePolicy()) if name != "_now"))


class ClientCookies:
    """The cookies of one HTTP ``client``, for requests to ``url``. Safe for threads, as the jar is."""

    __slots__ = ("_client", "_dated", "_kinds", "_order", "_policy", "_state", "_url")

    def __init__(self, client: httpx.Client | httpx.AsyncClient, url: httpx.URL) -> None:
        self._client = client
        self._url = url
        self._state: tuple[list[Any], tuple[int, ...] | None] = [], ()
        self._policy: Any = None
        self._kinds: dict[tuple[str, ...], _Kind] = {}
        # Cookies of the same second are alike but for their value.
        self._dated: dict[tuple[str, str, str, str], tuple[_Kind, int | None]] = {}

    def are_kept(self) -> bool:
        """Return whether there are any."""
        return bool(getattr(self._client.cookies.jar, "_cookies", True))

    # --- sending

    def header(self) -> bytes | None:
        """Return the value of the ``Cookie`` header of a request sent now, empty if it has none.

        None if that is for the client to say: with a jar of another class, or a value that HTTP does not allow.
        """
        jar = self._client.cookies.jar
        if type(jar) is not CookieJar:
            return None
        if not jar._cookies:  # type: ignore[attr-defined]
            return b""
        with jar._cookies_lock:  # type: ignore[attr-defined]
            return self._header(jar, int(time.time()))

    def _header(self, jar: Any, now: int) -> bytes | None:
        """Return the header of what is in ``jar`` now; nobody sets cookies meanwhile."""
        cookies, facts = chat.cookies_of(jar._cookies, now)
        state, order = self._state
        if state != facts or order is None or cookiejar.debug:  # type: ignore[attr-defined]
            return self._asked(cookies, facts)
        return _checked("; ".join([f"{cookies[index].name}={cookies[index].value}" for index in order]))

    def _asked(self, cookies: list[Cookie], facts: list[Any]) -> bytes | None:
        """Return the header that the client makes, and keep which ``cookies`` it is made of and in which order."""
        cookies_sent = self._client._merge_cookies(None)
        line = httpx.Request("POST", self._url, cookies=cookies_sent).headers.get("cookie", "")
        sent: list[Cookie] = []
        if cookies_sent is not None:
            jar: Any = self._client._merge_cookies(None).jar  # type: ignore[union-attr]
            jar._policy._now = int(time.time())
            request = httpx.Cookies._CookieCompatRequest(httpx.Request("POST", self._url))
            sent = jar._cookies_for_request(request)
            jar._cookie_attrs(sent)  # sorts them
        places = {id(cookie): place for place, cookie in enumerate(cookies)}
        is_plain = all(id(cookie) in places and cookie.version == 0 for cookie in sent)
        is_plain = is_plain and "; ".join(f"{cookie.name}={cookie.value}" for cookie in sent) == line
        self._state = facts, tuple(places[id(cookie)] for cookie in sent) if is_plain else None
        return _checked(line)

    # --- keeping

    def store(self, values: Sequence[str], headers: Any) -> None:
        """Keep the cookies that an answer sets: ``values`` of its ``Set-Cookie`` headers, among all its ``headers``."""
        jar = self._client.cookies.jar
        policy = jar._policy  # type: ignore[attr-defined]
        is_plain = type(jar) is CookieJar and type(policy) is DefaultCookiePolicy
        is_plain = is_plain and not cookiejar.debug  # type: ignore[attr-defined]
        if is_plain:
            facts = _POLICY_FACTS(policy)
            if facts != self._policy:
                self._policy, self._kinds, self._dated = facts, {}, {}
            if self._store(values, jar, policy):
                return
        self._client.cookies.extract_cookies(self._response(headers))
        if is_plain:
            for value in values:
                self._learn(value, copy.copy(policy))

    def _store(self, values: Sequence[str], jar: Any, policy: Any) -> bool:
        """Keep these cookies in ``jar``. Returns False, with nothing done, if one is for the library to read."""
        now = int(time.time())
        made: list[Cookie] = []
        for text in values:
            pair, semicolon, rest = text.partition(";")
            name, equals, value = pair.partition("=")
            found = self._dated.get((name, equals, semicolon, rest))
            if found is None:
                key, _, date = _taken_apart(text)
                kind = self._kinds.get(key)
                if kind is None:
                    return False
                expires = kind.expires(date, now)
                if kind.is_dated:
                    if len(self._dated) >= _MAX_KINDS:
                        self._dated.clear()
                    self._dated[name, equals, semicolon, rest] = kind, expires
            else:
                kind, expires = found
            if expires is not None and expires <= now:
                return False  # the library takes one that is in the jar away
            if kind.is_accepted:
                made.append(kind.cookie(value.strip(), expires))
        with jar._cookies_lock:
            policy._now = jar._now = now
            for cookie in made:  # as the jar's own method does
                jar._cookies.setdefault(cookie.domain, {}).setdefault(cookie.path, {})[cookie.name] = cookie
        return True

    def _learn(self, text: str, policy: DefaultCookiePolicy) -> None:
        """Ask the library in a jar of its own what it makes of cookies like ``text``."""
        key, value, date = _taken_apart(text)
        rest = "".join(key[1:]).lower()
        if not text.isprintable() or not text.isascii() or "version" in rest or rest.count("expires") > 1:
            return
        jar = CookieJar(policy)
        response = httpx.Cookies._CookieCompatResponse(self._response([("set-cookie", text)]))
        request = httpx.Cookies._CookieCompatRequest(httpx.Request("POST", self._url))
        found = jar.make_cookies(response, request)  # type: ignore[arg-type]
        if len(found) != 1 or found[0].name != key[0] or found[0].value != value:
            return
        now: int = jar._now  # type: ignore[attr-defined]
        lifetime = found[0].expires - now if "max-age" in rest and found[0].expires is not None else None
        kind = _Kind(found[0], lifetime, policy.set_ok(found[0], request))
        if kind.expires(date, now) != found[0].expires or vars(kind.cookie(value, found[0].expires)) != vars(found[0]):
            return
        if lifetime is not None and not re.search(rf"[=;]\s*max-age\s*=\s*{lifetime}\s*(;|$)", rest):
            return
        if len(self._kinds) >= _MAX_KINDS:
            self._kinds.clear()
        self._kinds[key] = kind

    def _response(self, headers: Any) -> httpx.Response:
        request = httpx.Request("POST", self._url)
        return httpx.Response(200, headers=headers, stream=httpx.ByteStream(b""), request=request)


class NoCookies:
    """The cookies of a client that is used for one call alone: it has none to send, and sends none that it is given."""

    def are_kept(self) -> bool:
        """Return whether there are any."""
        return False

    def header(self) -> bytes:
        """Return the value of the ``Cookie`` header of a request: empty, for it has none."""
        return b""

    def store(self, values: Sequence[str], headers: Any) -> None:
        """Nobody asks for them again."""


class _Kind:
    """What the library makes of cookies that are alike but for their value and the moment at which they expire.

    That moment is the date they name, or, if given, ``lifetime`` seconds from now. Those that are not accepted are not
    kept.
    """

    __slots__ = ("_attributes", "_lifetime", "_rest", "is_accepted", "is_dated")

    def __init__(self, cookie: Cookie, lifetime: int | None, is_accepted: bool) -> None:
        self.is_accepted = is_accepted
        self._attributes = dict(vars(cookie))
        self._rest: dict[str, Any] = cookie._rest  # type: ignore[attr-defined]
        self._lifetime = lifetime
        self.is_dated = lifetime is None  # so that it expires at the moment that it names

    def expires(self, date: str | None, now: int) -> int | None:
        """Return when a cookie expires that names ``date``, None if with the session."""
        if self._lifetime is not None:
            return now + self._lifetime
        if date is None:
            return None
        found = _moment(date)
        return 0 if found is None else found  # one without a moment is another kind of cookie

    def cookie(self, value: str, expires: int | None) -> Cookie:
        """Return such a cookie with this ``value``."""
        made = Cookie.__new__(Cookie)
        made.__dict__ = {**self._attributes, "value": value, "expires": expires, "_rest": self._rest.copy()}
        return made


def _taken_apart(text: str) -> tuple[tuple[str, ...], str, str | None]:
    """Return a ``Set-Cookie`` header without its value and its date, the value, and the date, None if it has none."""
    pair, semicolon, rest = text.partition(";")
    name, equals, value = pair.partition("=")
    found = _EXPIRES.fullmatch(rest)
    if found is None:
        return (name, equals, semicolon, rest), value.strip(), None
    return (name, equals, found[1], found[3]), value.strip(), found[2]


def _moment(date: str) -> int | None:
    """Return the moment that ``date`` names; the library is asked once for the dates within a minute."""
    found = _SECONDS.fullmatch(date)
    if found is None:
        return _asked_moment(date)
    minute = _asked_moment(f"{found[1]}00 GMT")
    return None if minute is None else minute + int(found[2])


@functools.lru_cache(256)
def _asked_moment(date: str) -> int | None:
    moment: int | None = cookiejar.http2time(cookiejar.strip_quotes(date.strip()))  # type: ignore[attr-defined]
    return moment


def _checked(line: str) -> bytes | None:
    """Return a header's value as it is sent, None if there is more in it than printable ASCII."""
    if not line.isascii() or not line.isprintable() or line != line.strip():
        return None
    return line.encode()
