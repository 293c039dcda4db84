"""Every reason for which a call is left to LiteLLM: one constant each, with what it means to a user.

The tables of reasons in ``docs/`` are made of this file by ``tools/generate_reasons.py``. A reason is counted as it is,
or as a ``Decline`` that names what it is about; the text is made when somebody reads the counts.
"""

from __future__ import annotations

import re
from typing import Any

_MAX_CHARS = 80


class Why:
    """Why a call is left to LiteLLM: a ``Reason``, or a ``Decline`` that says what that is about."""

    __slots__ = ()


class Reason(Why):
    """Why calls are left to LiteLLM.

    ``text`` says it in the counts, with ``{}`` for what it is about. ``meaning`` is a sentence for users that says what
    to change, if anything can be. ``tables`` are the tables in ``docs/`` that list it.
    """

    __slots__ = ("meaning", "tables", "text")

    def __init__(self, text: str, meaning: str, *tables: str) -> None:
        self.text = text
        self.meaning = meaning
        self.tables = tables

    def of(self, *about: Any) -> Decline:
        """Return this reason as it is about that: names, numbers or a reason, never a caller's own object."""
        for part in about:
            if isinstance(part, str) and (type(part) is not str or len(part) > _MAX_CHARS):
                about = tuple(_short(part) if isinstance(part, str) else part for part in about)
                break
        return Decline((self, *about))

    def __str__(self) -> str:
        return re.sub(r"(\{[^}]*\})+", "…", self.text)

    def __repr__(self) -> str:
        return f"<Reason {self}>"


class Decline(tuple[Any, ...], Why):
    """A ``Reason`` and what it is about, to be counted and compared."""

    __slots__ = ()

    def __str__(self) -> str:
        text: str = self[0].text.format(*self[1:])
        return text


class Unserved(Exception):
    """Raised where a call is found to be LiteLLM's, before anything is written; the first argument is the reason."""


def _short(text: str) -> str:
    """Return ``text`` as a plain ``str`` that keeps no long value alive."""
    return str.__str__(text)[:_MAX_CHARS]


def place(path: tuple[Any, ...]) -> str:
    """Return what a user calls the place ``path`` in the arguments: ``argument 'user'``, ``metadata['trace_id']``."""
    if len(path) == 1:
        return f"argument {_named(path[0])}"
    return f"{path[0]}{''.join(f'[{_named(step)}]' for step in path[1:])}"


def _named(step: Any) -> str:
    return repr(_short(step) if isinstance(step, str) else step if type(step) is int else type(step))


# --- calls: what the fast path has learned --------------------------------------------------------------------------

LEARNED_FROM = Reason(
    "learned from",
    "LiteLLM served this call and the fast path watched: the first of its kind, of a deployment, or after a "
    "change. Nothing to do; later calls like it are served.",
    "chat",
    "streaming",
    "proxy",
)
FIRST_OF_ITS_KIND = Reason(
    "first of its kind",
    "Many kinds of calls have been seen once already. This kind is learned if it comes again.",
    "chat",
)
FIRST_BY_VALUE = Reason(
    "first of its kind: {} differs each time",
    "As above, and every call has another value at this place, so that no two calls are of one kind. Pass the "
    "same value, or none, where you can.",
    "chat",
)
FIRST_BY_MESSAGES = Reason(
    "first of its kind: the shape of the messages differs each time",
    "As above; calls differ in the roles, types and members of their messages, which callbacks or a stream are "
    "told of.",
    "chat",
)
BEING_LEARNED = Reason(
    "being learned",
    "The fast path is watching another call of this kind, and this call has come before it is done. Nothing to do.",
    "chat",
    "proxy",
)
BEING_PROVEN = Reason(
    "being proven",
    "LiteLLM serves the call, and what the fast path would have done is compared with it. After three calls of a kind "
    "that agree, the fast path serves the kind. Where LiteLLM's source is of no known release, one call of each "
    "outline is compared as well, and one now and then. A record of `litellm-accel verify` makes this unnecessary.",
    "chat",
    "streaming",
    "tokens",
    "cost",
)
DIFFERS = Reason(
    "differs from stock: {}",
    "The fast path would not have done what LiteLLM did, so LiteLLM keeps serving this kind of call. Please report it.",
    "chat",
    "streaming",
    "tokens",
    "cost",
    "proxy",
)
VALUE_DIFFERS = Reason(
    "not learned: {} differs each time",
    "Many calls of this kind were watched, and none of them showed what LiteLLM makes of this value. Keep that "
    "value the same, or leave it out, where you can.",
    "chat",
)
MESSAGES_DIFFER = Reason(
    "not learned: the shape of the messages differs each time",
    "As above, for messages with other members, types or parts than those of the calls that were watched.",
    "chat",
)
REFUSED = Reason(
    "not learned: {}",
    "A call of this kind was watched, and LiteLLM does something that the fast path cannot repeat; the reasons "
    "are listed below. It tries again once a setting has changed.",
    "chat",
    "streaming",
)
UNLEARNABLE = Reason(
    "unlearnable: {}",
    "Counted once, besides `learned from`, when a watched call shows that its kind cannot be learned, for one of "
    "the reasons below.",
    "chat",
    "streaming",
)
INCONCLUSIVE = Reason(
    "nothing learned: {}",
    "Counted besides `learned from`: something disturbed the watched call, so that it does not show how such calls "
    "usually go. The next one is watched instead.",
    "chat",
)
LEARNING_FAILED = Reason(
    "an error of the fast path",
    "The fast path met an error of its own while it learned; `status()` counts it as a fault. Please report it.",
    "learning",
    "chunks",
)

# --- calls: what they pass ------------------------------------------------------------------------------------------

ARGUMENT = Reason(
    "argument {!r}",
    "With this argument LiteLLM does more than send it (`mock_response`, `fallbacks`, `client`, `prompt_id`, …), "
    "or its value has no plain form. Leave it out, or pass plain values, where you can.",
    "chat",
)
ARGUMENTS = Reason(
    "arguments",
    "More than two arguments are passed by position, or together they are larger than 64 kB. Pass them by name.",
    "chat",
)
SHARED_ARGUMENT = Reason(
    "argument {!r} holds an object that may change",
    "Callbacks are told of this very object (of a pydantic class, say), which your program may change meanwhile. "
    "Pass plain dictionaries and lists, `value.model_dump()` for example.",
    "chat",
)
ROUTER_CREDENTIAL = Reason(
    "argument {!r} of a router's call",
    "With credentials in a call the router makes a deployment for that call alone. Put them into the model list.",
    "chat",
)
METADATA_OF_NONE = Reason(
    "metadata of None",
    "A router fails on `metadata=None`, and LiteLLM words the error. Leave the argument out.",
    "chat",
)
MESSAGES = Reason(
    "messages",
    "The messages are not of JSON alone, refer to a file that LiteLLM may fetch, or are objects passed by "
    "position. Pass plain dictionaries, as `messages=`.",
    "chat",
)
EMBEDDING_INPUT = Reason(
    "an input that is no text and no tokens",
    "Embeddings are served of one text, of a list of texts, of tokens or of lists of tokens, all plain and not empty.",
    "embeddings",
)
MESSAGE_KINDS = Reason(
    "messages with {}",
    "This provider's rules for such messages are more than the fast path follows.",
    "chat",
)
MESSAGE_SHAPE = Reason(
    "messages of role {!r} that LiteLLM rewrites",
    "A watched call with such messages was sent otherwise than the provider's own rules explain.",
    "chat",
)

# --- calls: settings, callbacks, patches ----------------------------------------------------------------------------

SETTING = Reason(
    "setting {}{}",
    "LiteLLM must honour this setting on each call: a cache, budgets, rules, sessions, …. `modify_params=True` "
    "concerns only calls whose `max_tokens` LiteLLM would cut. Set it back to its default where you can.",
    "chat",
    "streaming",
)
CACHEABLE = Reason(
    "a call that LiteLLM's cache may answer",
    "With `litellm.cache`, asynchronous calls of a router with `cache_responses` are served, unless they stream or "
    "pass arguments that control the cache (`cache`, `caching`, `cache_key`). Direct calls are served beside a cache "
    "of the type `local`, unless they stream or pass `cache_key`, `caching=False` or `no-cache`.",
    "chat",
)
CACHED_TOLD = Reason(
    "an answer in the cache that callbacks are told of",
    "Answers in the cache are served where nobody listens and the call passes no `metadata`. LiteLLM serves this one.",
    "chat",
)
CACHED = Reason(
    "an answer in the cache",
    "LiteLLM answers from its cache. Nothing to do.",
    "chat",
)
SETTINGS_CHANGING = Reason(
    "settings that are being changed",
    "Another thread is still examining what has changed. Nothing to do.",
    "chat",
)
SETTINGS_UNREADABLE = Reason(
    "settings not understood",
    "Examining the settings failed; this is counted as a fault. The next call tries again.",
    "chat",
)
CALLBACK = Reason(
    "callback {}",
    "It takes part in more than a call's end (a hook like `TokenLogger.log_pre_api_call` that does something), is an"
    " integration that is not in the list above, or its logger has yet to be made by LiteLLM.",
    "chat",
)
CALLBACK_EARLY = Reason(
    "callback {} before the call",
    "A function in `callbacks` or `input_callback` is called before the request, too. Move it to `success_callback`.",
    "chat",
)
CALLBACK_OF_SERVICE = Reason(
    "callback {} of a service",
    "Callbacks in `service_callback` hear of steps that the fast path does not take. Empty that list.",
    "chat",
)
CALLBACK_COMPARES = Reason(
    "callback {}.{}",
    "It defines `__eq__` or `__hash__`, and LiteLLM compares callbacks with its own names. "
    "Remove the method from its class.",
    "chat",
)
CALLBACK_POSES = Reason(
    "callback {} in a logger's place",
    "It claims to be a `CustomLogger` but is not one (it is a mock or a proxy object).",
    "chat",
)
CALLBACKS_BEYOND_LIMIT = Reason(
    "callbacks beyond LiteLLM's limit",
    "LiteLLM refuses more callbacks (`MAX_CALLBACKS`) and warns on each call. Register fewer.",
    "chat",
)
CALLBACK_PLACES = Reason(
    "callback out of place",
    "LiteLLM's source is missing, or does not show what is done to its lists of callbacks when a call begins.",
    "chat",
)
PATCHED = Reason(
    "patched {}",
    "A function or class that the fast path would bypass has been replaced: by instrumentation "
    "(OpenTelemetry, ddtrace, respx, vcrpy) or a mock, in a module, a class, a router or its cache; a mocked "
    "clock.",
    "chat",
    "streaming",
)
LOGGING = Reason(
    "logging: {} at {}",
    "This logger writes something about such calls at this level that the fast path does not repeat. Set a higher"
    " level.",
    "chat",
    "streaming",
    "routing",
    "tokens",
    "cost",
    "limits",
)
INTERNAL_CALL = Reason(
    "internal call",
    "LiteLLM calls itself. Nothing to do.",
    "chat",
)
STREAMS_OFF = Reason(
    "stream",
    "Component `streaming`, which opens streams, is not active, or in a mode in which LiteLLM opens them: `status()` "
    "says which.",
    "chat",
)

# --- calls: sending -------------------------------------------------------------------------------------------------

ERROR_DIFFERS = Reason(
    "exception of an error reply",
    "The exception that LiteLLM raises for an error of the provider's is not the one that would be made here. Calls "
    "that get such a reply are left to LiteLLM with it.",
    "learning",
)
RETRY_DIFFERS = Reason(
    "request that is sent again",
    "The request that the provider's SDK sends after an error is not the one that would be sent here. Calls that get "
    "an error are left to LiteLLM with it.",
    "learning",
)
REPLY_LEFT = Reason(
    "reply left to stock",
    "The request was sent, and LiteLLM made the result of what came back: an error, or an answer of a new shape.",
    "chat",
)
NEW_LOOP = Reason(
    "new event loop",
    "LiteLLM makes its client for this event loop, in a way that the fast path does not know. Use one loop for "
    "many calls.",
    "chat",
)
CLOSED_CONNECTION = Reason(
    "closed connection",
    "The idle connection that would be used has something to read: the provider has closed it. Nothing to do.",
    "chat",
)
CHANGED_CLIENT = Reason(
    "changed client",
    "Somebody has changed the client that LiteLLM keeps for these calls (its headers, hooks, key) or put another "
    "in its place. It is learned again from the next call.",
    "chat",
)
COOKIES = Reason(
    "cookies",
    "The client has a cookie jar of another class, or a cookie that HTTP does not allow in a header.",
    "chat",
)

# --- calls of routers -----------------------------------------------------------------------------------------------

ROUTER_CLASS = Reason(
    "router class",
    "The router is of a subclass of `Router`, or keeps no `chat`.",
    "chat",
)
ROUTING_STRATEGY = Reason(
    "routing strategy {!r}",
    "The router chooses by a strategy that is not known here: a custom one, lar1, provider budgets.",
    "chat",
    "routing",
)
ROUTER_SETTING = Reason(
    "router setting {}",
    "With this setting a router does more than choose and count. Leave it out of `Router(...)` where you can.",
    "chat",
)
ROUTER_CACHE = Reason(
    "router cache",
    "The router's cache is of a class of somebody's own; or it is Redis, and the call is a synchronous one, or the "
    "installed LiteLLM (before 1.104) counts in Redis in another way.",
    "chat",
)
DEPLOYMENT_SETTING = Reason(
    "deployment setting {!r}",
    "A deployment in the model list has a parameter whose effect the fast path does not know.",
    "chat",
)
COUNTED_BEFOREHAND = Reason(
    "a router counts calls before they are sent",
    "The call comes from a router whose own calls are left to LiteLLM, while a router chooses by `least-busy`, "
    "which is told of every call.",
    "chat",
)
CHOICE_WRITES = Reason(
    "routing",
    "Choosing the deployment wrote something into the call that LiteLLM must act on.",
    "chat",
)
DEPLOYMENT_CHANGED = Reason(
    "deployment changed",
    "A deployment's parameters have changed under the same id since its plan was learned.",
    "chat",
)
NO_DEPLOYMENT = Reason(
    "no deployment",
    "The router found no deployment. LiteLLM raises the error or falls back.",
    "chat",
)
DEPLOYMENT_FULL = Reason(
    "deployment is full",
    "The chosen deployment is at its limit; LiteLLM waits, raises the error or falls back.",
    "chat",
)

# --- connections ----------------------------------------------------------------------------------------------------

POOL_LOOP_UNSUITED = Reason(
    "proxy, cookies or traces",
    "The session of an event loop has proxies, environment proxies, a cookie jar, traces or middlewares.",
    "connections",
)
POOL_THREADS_UNSUITED = Reason(
    "proxy or other protocol",
    "The client of threads uses a proxy, HTTP/2, a Unix socket or retries.",
    "connections",
)
POOL_EXHAUSTED = Reason(
    "all connections in use",
    "LiteLLM's limit of connections is reached; its own pool waits for one.",
    "connections",
)

# --- what a watched call showed that cannot be repeated -------------------------------------------------------------

SETTINGS_CHANGED = Reason(
    "settings changed meanwhile",
    "A setting changed while the call was running, or hundreds of other kinds were learned.",
    "learning",
)
IMPORTED = Reason(
    "LiteLLM was still being imported",
    "LiteLLM imported a part of itself in this call that had to be watched.",
    "learning",
)
SEVERAL_REQUESTS = Reason(
    "not exactly one request",
    "LiteLLM sent several requests for the call, or none: a retry, a fallback, a cached answer.",
    "learning",
)
NO_SUCCESS = Reason(
    "the answer was an error",
    "The provider answered with an error, or its answer broke off.",
    "learning",
)
ARGUMENTS_CHANGED = Reason(
    "arguments changed meanwhile",
    "The caller changed the arguments while the call was running.",
    "learning",
)
MESSAGES_CHANGED = Reason(
    "messages changed meanwhile",
    "The caller changed the messages while the call was running.",
    "learning",
)
COOKIES_CHANGED = Reason(
    "cookies changed meanwhile",
    "Another call set cookies while this one was running.",
    "learning",
)
RESULT_CHANGED = Reason(
    "a callback changed the result",
    "A callback changed what the call returned, so the result cannot be compared.",
    "learning",
)
LOGGED_OTHERWISE = Reason(
    "LiteLLM logs something else about this answer",
    "At this log level LiteLLM serves calls with such answers.",
    "learning",
)
DEPLOYMENT_OR_MINUTE = Reason(
    "another deployment or minute",
    "The router's counters of two minutes, or of two deployments, cannot be compared.",
    "learning",
)
SHOWS_NOTHING = Reason(
    "calls like it show nothing",
    "Calls of this kind were watched and nothing could be learned: the provider failed, or a router tried several "
    "deployments. Watching costs time, so only few more of them are watched; the first of these that succeeds at once "
    "is learned from. Nothing to do.",
    "chat",
)
FAILS_UNSENT = Reason(
    "it fails before it is sent",
    "LiteLLM raised an error before it sent a request. Such calls are watched every ten seconds at most.",
    "learning",
)
STRANGER = Reason(
    "{} stands among LiteLLM's functions",
    "LiteLLM called this function, or was called by it, and it belongs neither to LiteLLM nor to a package that "
    "LiteLLM requires: a mock, a wrapper, an instrument.",
    "learning",
)
CONTEXT = Reason(
    "the context variable {} is another afterwards",
    "LiteLLM changed this context variable and left it so for what follows the call.",
    "learning",
)
LOG_RECORDS_SEEN_ONCE = Reason(
    "log records seen once",
    "Loggers wrote something that a second call must confirm.",
    "learning",
)
WARNS = Reason(
    "LiteLLM warns on each such call",
    "LiteLLM's log has the warning. Fix what it is about, and calls are served.",
    "learning",
)
LOGGER_REPLACED = Reason(
    "Logger.handle is not Python's own",
    "Something has replaced the method of `logging`, so that log records cannot be overheard.",
    "learning",
)
STREAM_WITHOUT_SDK = Reason(
    "a stream without the OpenAI SDK",
    "Only streams that LiteLLM reads through the OpenAI SDK are opened by the fast path.",
    "learning",
)
REQUEST_HEADER = Reason(
    "request header {!r}",
    "Neither LiteLLM, its SDK nor your arguments explain this header: instrumentation adds it to each request.",
    "learning",
)
REQUEST_HEADERS = Reason(
    "request headers that cannot be repeated",
    "The request's headers have no plain form, or your own name `content-length`.",
    "learning",
)
EXPIRING_TOKEN = Reason(
    "a token that may expire",
    "LiteLLM fetched an Azure token for the call. Calls with an `api_key` are served.",
    "learning",
)
RESPONSE_HEADERS = Reason(
    "response headers that cannot be repeated",
    "The headers of the answer are not plain text, or LiteLLM changes them in a way that is not known.",
    "learning",
)
HEADERS_TOLD_OTHERWISE = Reason(
    "callbacks receive other headers",
    "Callbacks are given headers that are not those of the answer.",
    "learning",
)
ARGUMENT_SHAPES_REQUEST = Reason(
    "the value of an argument shapes the request",
    "`user`, `seed`, `max_tokens` or the like changed more in the request than its own member.",
    "learning",
)
ARGUMENT_REWRITTEN = Reason(
    "argument {!r} is sent with another value",
    "LiteLLM or the provider's rules change the value on its way.",
    "learning",
)
ARGUMENT_SENT_TWICE = Reason(
    "argument {!r} is sent twice",
    "Several members of the request have this value, so it cannot be told which of them is the argument.",
    "learning",
)
BODY_WRITTEN_OTHERWISE = Reason(
    "the request body is written in another form",
    "The JSON of the request is not what the fast path would write.",
    "learning",
)
MESSAGES_REWRITTEN = Reason(
    "the request rewrites the messages",
    "The messages are not found in the request as they were passed or as the provider's rules would change them.",
    "learning",
)
PROVIDER_MESSAGES = Reason(
    "provider {} changes messages",
    "The provider has rules of its own for messages, which the fast path does not know.",
    "learning",
)
PRINTS_EACH_CALL = Reason(
    "LiteLLM prints something on each such call",
    "It does not know the model, or has no price for it. Set `litellm.suppress_debug_info = True`, or "
    "add the model with a price.",
    "learning",
)
ANSWER_BY_CONTENT = Reason(
    "LiteLLM looks into the answer's content",
    "LiteLLM treats such answers by what they say (JSON asked for by a tool, calls written as text, billed tools).",
    "learning",
)
ANSWER_UNREADABLE = Reason(
    "the answer cannot be read",
    "The fast path does not read its encoding or its form.",
    "learning",
)
ANSWER_TOO_DEEP = Reason(
    "the answer is nested too deep",
    "It has more levels than Python can follow.",
    "learning",
)
ANSWER_REFUSED = Reason(
    "LiteLLM refuses answers with other values",
    "With other texts and numbers in the same answer, LiteLLM's conversion fails.",
    "learning",
    "chunks",
)
ANSWER_TEXT = Reason(
    "callbacks receive the answer in another form",
    "Callbacks are given the answer as a text that is neither what the provider sent nor the same JSON written anew.",
    "learning",
)
SAME_INPUT = Reason(
    "the same input twice",
    "Two watched calls had the same input, so they do not show where else callbacks are given it. A call with another "
    "input will.",
    "learning",
)
ANSWER_WARNED_OF = Reason(
    "pydantic warns of the answer",
    "The answer's members have other types than the SDK's classes; pydantic warns of them each time.",
    "learning",
)
OWN_HIDDEN_PARAMS = Reason(
    "the answer has hidden parameters of its own",
    "The provider's answer contains something that LiteLLM puts into `_hidden_params`.",
    "learning",
)
HIDDEN_PARAM = Reason(
    "hidden parameter {!r}",
    "LiteLLM put this into the result's `_hidden_params`, and it is not known what it depends on.",
    "learning",
)
RESULT_DIFFERS = Reason(
    "the fast path builds another result",
    "Its result would differ from LiteLLM's for the very same answer.",
    "learning",
)
RESULT_CLASS = Reason(
    "result of type {}",
    "LiteLLM did not return a `ModelResponse`.",
    "learning",
)
RESULT_BY_VALUES = Reason(
    "the result depends on the answer's values",
    "With other values in the same answer, LiteLLM makes a result of another form.",
    "learning",
    "chunks",
)
RESULT_COMPUTED = Reason(
    "the result is computed from the answer's values",
    "A member of the result is neither constant nor a value of the answer.",
    "learning",
    "chunks",
)
RESULT_HOLDS = Reason(
    "the result holds a {}",
    "The fast path cannot build objects of this class.",
    "learning",
    "chunks",
)
RESULT_SHARES = Reason(
    "an object occurs twice in the result",
    "Two members of the result are the same object, and the fast path would make two.",
    "learning",
    "chunks",
)
RESULT_WITHOUT_TIME = Reason(
    "the answer does not say when it was made",
    "LiteLLM sets `created` from its own clock.",
    "learning",
)
RESULT_PRIVATE = Reason(
    "the result has other private attributes",
    "It holds more than hidden parameters and headers.",
    "learning",
)
ANSWER_SHAPE = Reason(
    "the answer has a shape that is not learned",
    "Numbers that JSON readers round, unknown finish reasons, texts that LiteLLM may take for tool calls, or too "
    "many members.",
    "learning",
    "chunks",
)
PARAMETER_WITHOUT_FORM = Reason(
    "a parameter has no plain form",
    "LiteLLM before 1.103 keeps the request's parameters with the result, and one of them is an object.",
    "learning",
)
CLIENT_UNKNOWN = Reason(
    "the HTTP client is not LiteLLM's",
    "The call was sent through a client that is not in LiteLLM's cache (`client=`, `http_client`).",
    "learning",
)
CLIENT_METHODS = Reason(
    "the HTTP client has methods of its own",
    "A function was put into the client: instrumentation or a mock.",
    "learning",
)
CLIENT_HOOKS = Reason(
    "the HTTP client has event hooks",
    "`httpx` calls these hooks on each request.",
    "learning",
)
CLIENT_PER_CALL = Reason(
    "the HTTP client depends on the call",
    "Asked again with the same arguments, LiteLLM returns another client.",
    "learning",
)
PROMPT_MANAGEMENT = Reason(
    "prompt management",
    "The model group fetches its prompts from an integration.",
    "learning",
)
ROUTER_CALLBACKS = Reason(
    "this LiteLLM counts routers' calls otherwise",
    "Callbacks listen, and this release's router counts successes in a way that is not known. Upgrade LiteLLM.",
    "learning",
)
ROUTER_HEADERS = Reason(
    "the router adds other headers",
    "What this LiteLLM's router adds to the headers of a result is not what the fast path would add.",
    "learning",
)
PRICED_UNTOLD = Reason(
    "LiteLLM prices the call without its logging object",
    "What the call costs is computed in a way that the fast path does not know.",
    "learning",
)
MODEL_WITHOUT_PRICE = Reason(
    "model {} has no entry in the price list",
    "After each such call LiteLLM fails to count it. Register the model, or name `base_model` in its `model_info`.",
    "learning",
)

# --- what callbacks are given of a watched call ---------------------------------------------------------------------

ARGUMENT_PARTS_SHARED = Reason(
    "parts of the arguments are one object",
    "The same dictionary or list is in several places of the metadata, and not in the same ones each time.",
    "learning",
)
ARGUMENT_TOLD = Reason(
    "callbacks receive an argument from several places",
    "The two watched calls show the same argument in different places of what callbacks are given.",
    "learning",
)
ARGUMENT_PART_TOLD = Reason(
    "callbacks receive a part of an argument that varies",
    "A dictionary or list inside the metadata is handed on, and whether it is there varies.",
    "learning",
)
ARGUMENT_CHANGES_BY_CONTENT = Reason(
    "LiteLLM changes the metadata by what is in it",
    "What LiteLLM writes into the arguments depends on their content.",
    "learning",
)
ARGUMENT_LIST_CHANGED = Reason(
    "LiteLLM changes a list in the arguments",
    "Only what is written into dictionaries is repeated.",
    "learning",
)
ARGUMENT_MEMBER_REMOVED = Reason(
    "LiteLLM removes something from the arguments",
    "Only what is written into dictionaries is repeated, or their order changed.",
    "learning",
)
METADATA_STEERS = Reason(
    "metadata[{!r}] differs",
    "LiteLLM's behaviour depends on this value, so it must be the same in all calls of a kind. Keep it constant.",
    "learning",
)
TOLD_TOO_EARLY = Reason(
    "callbacks receive {} before it is known",
    "The fast path would have to hand this on before it exists.",
    "learning",
)
TOLD_ELSEWHERE = Reason(
    "callbacks are called in another way",
    "The call succeeded without the logging steps that the fast path knows.",
    "learning",
)
TOLD_UNEXPLAINED = Reason(
    "callbacks receive {!r}, whose origin is not known",
    "Two watched calls do not show where LiteLLM takes this value from.",
    "learning",
)
TOLD_TWICE = Reason(
    "callbacks receive one object in several places",
    "What was one object in the first watched call was two in the second.",
    "learning",
)
TOLD_BY_VALUES = Reason(
    "callbacks receive other members with other values",
    "What callbacks are given has other members in each of the watched calls.",
    "learning",
)
TOLD_MESSAGES = Reason(
    "callbacks receive messages in a form of their own",
    "They are neither the messages as passed nor as they are sent, nor a copy of these that the fast path can make.",
    "learning",
)
TOLD_MESSAGE_PARTS = Reason(
    "callbacks receive partly copied messages",
    "Parts of the messages are copies and others are not, and that differs from message to message.",
    "learning",
)
CACHE_KEY = Reason(
    "a key of LiteLLM's cache",
    "A watched call was looked for in the cache under a key that its arguments do not explain.",
    "learning",
)
CACHE_LEFT = Reason(
    "the cache has not answered",
    "An answer was in LiteLLM's cache, and LiteLLM asked the provider all the same: another thread has removed it.",
    "learning",
)
CACHE_OTHER_RELEASE = Reason(
    "this LiteLLM asks its cache otherwise",
    "The installed release lacks the functions by which the fast path has the cache asked.",
    "learning",
)
TOLD_OTHER_RELEASE = Reason(
    "this LiteLLM calls callbacks otherwise",
    "The installed release lacks the functions by which the fast path has callbacks called.",
    "learning",
)
TOLD_LOGGING_CLASS = Reason(
    "a logging object of type {}",
    "The call passes `litellm_logging_obj` of a class that is not LiteLLM's.",
    "learning",
)
TOLD_SOMETHING_ELSE = Reason(
    "callbacks would receive something else",
    "Tried on the watched call itself, the fast path would have told callbacks something different.",
    "learning",
)
PAYLOAD_DIFFERS = Reason(
    "the logging payload has another {!r}",
    "LiteLLM's standard payload differs at this member between two calls that should be alike.",
    "learning",
)

# --- streams that are opened ----------------------------------------------------------------------------------------

STREAM_UNKNOWN = Reason(
    "LiteLLM makes the stream in another way",
    "The stream was not made by the steps that the fast path knows.",
    "learning",
)
STREAM_HEADERS = Reason(
    "a stream with other headers",
    "Its headers are not those of the answer.",
    "learning",
)
STREAM_LOGGING = Reason(
    "a synchronous stream whose `Logging` object is the caller's",
    "That object refers to the stream, and learning from it would keep the stream open.",
    "learning",
)
STREAM_OPENED_OTHERWISE = Reason(
    "the fast path opens the stream differently: {}",
    "Tried on the watched call itself, the stream would not be the same object tree.",
    "learning",
)
STREAM_READ_OTHERWISE = Reason(
    "the fast path reads the stream differently",
    "The SDK's stream would be made of other parts.",
    "learning",
)
STREAM_CLASS = Reason(
    "a stream of type {}",
    "Someone's own class has replaced LiteLLM's or the SDK's.",
    "learning",
)
STREAM_RAW = Reason(
    "a stream with another response",
    "Callbacks are not given the raw response that LiteLLM's OpenAI handler gives them.",
    "learning",
)

# --- chunks of streams ----------------------------------------------------------------------------------------------

# Not a reason: the chunk comes with the next bytes.
MORE = Reason(
    "more bytes are needed",
    "The stream continues when they have arrived.",
)
CHUNK_PROVIDER = Reason(
    "a provider's own chunks",
    "LiteLLM treats this provider's events in a way of its own.",
    "streaming",
)
FIRST_OR_LAST_CHUNK = Reason(
    "first or last chunk",
    "The finish reason has come, or the application has changed the stream before its first chunk.",
    "streaming",
)
CHUNK_CONTENT = Reason(
    "content",
    "Numbers that parsers disagree on, unknown finish reasons, blank ids, or text that begins with `<`.",
    "streaming",
)
CHUNK_NOT_JSON = Reason(
    "not JSON",
    "The event is garbage; the SDK raises the error.",
    "streaming",
)
CHUNK_NOT_ONE = Reason(
    "not a chunk",
    "The event is an error, or no JSON object.",
    "streaming",
)
CHUNK_FIELDS = Reason(
    "other fields",
    "The event stream has fields that are not read here.",
    "streaming",
)
CHUNK_REPEATED = Reason(
    "repeated chunk",
    "LiteLLM is about to raise because the model repeats itself, or the application has changed the last chunks.",
    "streaming",
)
STREAM_KIND = Reason(
    "another kind of stream",
    "Not the OpenAI SDK's: another provider's, a cached answer, a mock.",
    "streaming",
)
STREAM_CHANGED = Reason(
    "changed stream",
    "Somebody has put methods into the stream.",
    "streaming",
)
STREAM_DECODER = Reason(
    "another decoder",
    "Somebody has replaced the decoder of the SDK's stream.",
    "streaming",
)
STREAM_STRICT = Reason(
    "strict validation",
    "The client checks each answer (`_strict_response_validation`).",
    "streaming",
)
STREAM_BEGUN = Reason(
    "begun before",
    "Somebody has read from the stream already.",
    "streaming",
)
CUSTOM_PROVIDERS = Reason(
    "custom providers",
    "`custom_provider_map` is in use, whose providers make chunks of their own.",
    "streaming",
)
CHUNK_WITHOUT_CHOICES = Reason(
    "no choices",
    "A chunk without choices, like one with the usage.",
    "chunks",
)
CHUNK_TIME = Reason(
    "another time than now",
    "LiteLLM gives the chunk a time other than the present.",
    "chunks",
)
CHUNK_DIFFERS = Reason(
    "the fast path builds another chunk",
    "For the same event it would differ from LiteLLM's.",
    "chunks",
)
CHUNK_NO_TEXT = Reason(
    "content that is no text",
    "The chunk's content is not text.",
    "chunks",
)
CHUNK_ERROR = Reason(
    "{} in LiteLLM's conversion",
    "LiteLLM fails on such events, or pydantic warns of them.",
    "chunks",
)
CHUNK_UNLIKE = Reason(
    "not a chunk like others",
    "LiteLLM returns nothing for such an event, holds it back, or adds a usage.",
    "chunks",
)
CHUNK_CHANGES_STREAM = Reason(
    "the stream goes on differently",
    "LiteLLM stores more in its stream than it does for a plain chunk.",
    "chunks",
)
# Why LiteLLM puts the chunks of a whole stream together; nobody counts that.
WHOLE_NOT_PLAIN = Reason(
    "more than plain text",
    "Tools, reasoning, several choices, or chunks that differ otherwise.",
)
WHOLE_DIFFERS = Reason(
    "another response than LiteLLM's",
    "A template would build a different response from the same chunks.",
)

# --- routing --------------------------------------------------------------------------------------------------------

ROUTER_SUBCLASS = Reason(
    "a subclass of Router",
    "Its methods may choose otherwise. Use `litellm.Router` itself.",
    "routing",
)
ROUTER_METHODS = Reason(
    "a router with methods of its own",
    "A function (a mock, a patch) has replaced a method of the router object.",
    "routing",
)
ROUTER_WITHOUT_MODELS = Reason(
    "a router without a model list",
    "The router was made without `model_list`.",
    "routing",
)
ROUTER_PART_METHODS = Reason(
    "a router's part with methods of its own",
    "A function has replaced a method of the router's cache, strategy or logger.",
    "routing",
    "limits",
)
STRATEGY_METHODS = Reason(
    "a strategy with methods of its own",
    "A function has replaced a method of the strategy object.",
    "routing",
    "limits",
)
ROUTER_PART_CLASS = Reason(
    "a router's part of an unknown class",
    "The router's cache, strategy or logger is of someone's own class, or a mock.",
    "routing",
)
ROUTING_PATCHED = Reason(
    "LiteLLM's routing is patched",
    "A function or class that the choice bypasses has been replaced since the component was switched on.",
    "routing",
    "limits",
)
ROUTING_VERBOSE = Reason(
    "verbose mode",
    "LiteLLM prints what it chooses. Set `litellm.set_verbose = False`.",
    "routing",
    "limits",
)
ROUTING_TRACED = Reason(
    "requests are traced",
    "The proxy's OpenTelemetry logger traces each choice.",
    "routing",
    "limits",
)
ROUTING_SERVICES = Reason(
    "service callbacks",
    "LiteLLM reports each cache lookup to the callbacks in `service_callback`. Empty that list.",
    "routing",
)
ROUTING_REDACTED = Reason(
    "redacted keys",
    "`litellm.redact_user_api_key_info` is set.",
    "routing",
)
ROUTING_PLUGINS = Reason(
    "routing plugins",
    "Plugins take part in the choice.",
    "routing",
)
ROUTING_PRE_STRATEGIES = Reason(
    "pre-routing strategies",
    "Auto, complexity, adaptive or quality routers choose the model first.",
    "routing",
)
ROUTING_GROUPS = Reason(
    "routing groups",
    "The router has routing groups, whose strategies differ.",
    "routing",
)
ACCESS_WINDOWS = Reason(
    "access windows",
    "A deployment may be used only at certain times.",
    "routing",
)
ROUTING_UNKNOWN_SETTING = Reason(
    "deployment setting {!r} is not known here",
    "The installed LiteLLM reads a setting of a deployment that LiteLLM 1.106.2 did not know.",
    "routing",
)
ACCESS_GROUPS_OF_ALIAS = Reason(
    "model access groups of an alias",
    "An access group may come from what an alias of the same name stands for.",
    "routing",
)
ACCESS_GROUPS_TYPE = Reason(
    "access groups that are no list",
    "`access_groups` of a deployment must be a list of names.",
    "routing",
)
CALLER_MODELS_TYPE = Reason(
    "a caller's models that are no list",
    "The models that a proxy's key or team may use are not a list of names.",
    "routing",
)
ROUTING_FILTERED = Reason(
    "callback {} filters deployments",
    "Session affinity, prompt-caching routing, provider budgets and encrypted-content affinity wait for a cache of "
    "their own.",
    "routing",
)
ROUTING_CALLBACKS_TYPE = Reason(
    "callbacks that are no list",
    "`litellm.callbacks` must be a list.",
    "routing",
)
ROUTING_REDIS = Reason(
    "Redis",
    "The router, its cooldowns or its health checks use Redis, so a choice waits for the server.",
    "routing",
    "limits",
)
ROUTING_CACHE = Reason(
    "a cache of an unknown class",
    "A cache of the router is not LiteLLM's in-memory cache.",
    "routing",
    "limits",
)
CACHED_VALUE = Reason(
    "an unexpected value in the cache",
    "The router's cache holds something else than LiteLLM's own numbers and lists under one of its keys.",
    "routing",
    "limits",
)
COOLDOWN_VALUE = Reason(
    "an unexpected cooldown",
    "The cooldown cache holds something else than LiteLLM's own entry.",
    "routing",
)
COOLDOWN_KEPT = Reason(
    "a cooldown kept longer than it lasts",
    "An entry of the cooldown cache lives longer than the cooldown that it describes.",
    "routing",
)
LATENCIES_MAP = Reason(
    "unexpected latencies",
    "The cache of `latency-based-routing` holds something else than LiteLLM's own measurements.",
    "routing",
)
LATENCIES_TYPE = Reason(
    "unexpected latencies of a deployment",
    "The latencies of a deployment are not a list of numbers.",
    "routing",
)
LATENCY_NO_TIME = Reason(
    "a latency that is no time",
    "A latency is neither a number nor a duration.",
    "routing",
)
NO_DEPLOYMENT_OF_MODEL = Reason(
    "no deployment has the model",
    "A call with `specific_deployment` names a model that no deployment has; LiteLLM raises the error.",
    "routing",
)
SPECIFIC_LIKE_GROUP = Reason(
    "a specific deployment called like a model group",
    "`specific_deployment` has the name of a model group as well. Name the deployment's own model.",
    "routing",
)
UNKNOWN_GROUP = Reason(
    "an unknown model group",
    "The name is no model group, wildcard or team name, or the router has a default deployment.",
    "routing",
)
TEAM_DEPLOYMENTS = Reason(
    "a team's own deployments",
    "A team's name for its deployments is also the name of a group.",
    "routing",
)
MODEL_NAME_TYPE = Reason(
    "a model name that is no string",
    "Pass the model as a `str`.",
    "routing",
)
ALIAS_TYPE = Reason(
    "an unexpected alias",
    "An entry of `model_group_alias` is neither a name nor a dictionary with one.",
    "routing",
)
MODEL_ALIAS_MAP = Reason(
    "litellm.model_alias_map",
    "LiteLLM renames models by this map. Use the router's `model_group_alias`.",
    "routing",
)
NO_REQUEST = Reason(
    "a request without arguments",
    "The choice was asked for without `request_kwargs`.",
    "routing",
)
REQUEST_TYPE = Reason(
    "request arguments that are no dictionary",
    "`request_kwargs` must be a plain dictionary with plain metadata.",
    "routing",
)
REQUEST_STEERS = Reason(
    "request argument {!r} steers the choice",
    "The call brings its own strategy, weights or router, so LiteLLM must choose.",
    "routing",
)
EARLIER_DECISION = Reason(
    "metadata of an earlier routing decision",
    "The metadata carry what an auto router has decided.",
    "routing",
)
METADATA_TYPE = Reason(
    "metadata that are no dictionary",
    "Pass `metadata` as a plain dictionary; tags and the like as lists of texts.",
    "routing",
)
TOOLS_TYPE = Reason(
    "tools that are no list of dictionaries",
    "Pass `tools` as a list of plain dictionaries.",
    "routing",
)
PROMPT_COUNTED_ELSEWHERE = Reason(
    "a prompt that is counted off the event loop",
    "Pre-call checks count long prompts (32,768 characters), images and other parts in a thread.",
    "routing",
)
PROMPT_UNCOUNTABLE = Reason(
    "a prompt that cannot be counted",
    "Pre-call checks cannot count the messages; LiteLLM logs that.",
    "routing",
)
CONTEXT_COMPACTION = Reason(
    "context compaction",
    "A complexity router may shorten the conversation.",
    "routing",
)
CHANGING_LIMITS = Reason(
    "limits that may change on their own",
    "The deployment's model is a wildcard, its provider is one whose limits LiteLLM learns elsewhere, or such "
    "limits have been discovered.",
    "routing",
)
MODEL_UNPRICED = Reason(
    "a model without an entry in the price list",
    "Pre-call checks and records look the model up. Register it, or name `base_model` in its `model_info`.",
    "routing",
)
MODEL_OF_UNKNOWN_PROVIDER = Reason(
    "a model of an unknown provider",
    "LiteLLM cannot tell the provider from the deployment's model.",
    "routing",
)
NO_TAGGED_DEPLOYMENT = Reason(
    "no deployment has the tags",
    "LiteLLM raises the error.",
    "routing",
)
NO_HEALTHY_DEPLOYMENT = Reason(
    "no deployment is healthy",
    "LiteLLM says in its log that it ignores the health checks.",
    "routing",
)
NONE_AVAILABLE = Reason(
    "no deployment is available",
    "All are cooling down, blocked or filtered out; LiteLLM raises the error.",
    "routing",
)
NONE_WITHIN_LIMITS = Reason(
    "no deployment within its limits",
    "All are at their `tpm` or `rpm`; LiteLLM raises the error.",
    "routing",
)
TAGS_WAIT = Reason(
    "tag routing waits for something",
    "A function of tag routing was replaced by one that awaits.",
    "routing",
)
TAGS_TYPE = Reason(
    "tags that are no list of texts",
    "Give a deployment's `tags` and `tag_regex` as lists of texts.",
    "routing",
)
TAG_PATTERN = Reason(
    "a tag pattern that is no pattern",
    "A `tag_regex` of a deployment is no regular expression.",
    "routing",
)
SHARED_ID = Reason(
    "deployments that share an id",
    "Two deployments have the same `model_info.id`. Give each its own.",
    "routing",
)
MISPLACED = Reason(
    "deployments that are not where the router's lists say",
    "The router's list of models was changed by hand, or is being changed now. Use the router's own methods.",
    "routing",
)
DEPLOYMENT_TYPE = Reason(
    "deployments that are no plain dictionaries",
    "A deployment in the model list is no dictionary, or lacks texts for its name and its id.",
    "routing",
    "limits",
)
DEPLOYMENT_UNCOPYABLE = Reason(
    "deployments that cannot be copied",
    "A deployment holds objects besides plain values, dictionaries and lists.",
    "routing",
)
LIST_CHANGING = Reason(
    "the model list is being changed",
    "Another thread is adding or removing deployments. Nothing to do.",
    "routing",
)
ORDER_TYPE = Reason(
    "an order that is no integer",
    "Give a deployment's `order` as an `int`.",
    "routing",
)
ID_WITH_COLON = Reason(
    "ids with a colon",
    "`usage-based-routing-v2` splits its keys at colons. Choose ids without one.",
    "routing",
)
WEIGHTS_TYPE = Reason(
    "weights that are no numbers",
    "Give `weight`, `rpm` and `tpm` of deployments as numbers.",
    "routing",
)
WEIGHTS_VALUE = Reason(
    "weights that are no shares",
    "A weight is negative, infinite or not a number.",
    "routing",
)
LIMITS_TYPE = Reason(
    "limits that are no numbers",
    "Give `tpm` and `rpm` of deployments as numbers.",
    "routing",
    "limits",
)
COSTS_TYPE = Reason(
    "costs that are no numbers",
    "Give the costs of deployments as numbers.",
    "routing",
)
PATTERN_TYPE = Reason(
    "an unexpected wildcard",
    "The router's table of wildcards was changed by hand.",
    "routing",
)
PATTERN_UNRENDERABLE = Reason(
    "a wildcard that cannot be filled in",
    "LiteLLM fails to put the name into the deployment's model; it says why.",
    "routing",
)
NO_SYNC_CHOICE = Reason(
    "a strategy without a synchronous choice",
    "`cost-based-routing` chooses in coroutines alone. Use `acompletion`.",
    "routing",
)
RECORD_TYPE = Reason(
    "an unexpected record of a call",
    "A finished call is described to the strategy by something else than LiteLLM's own dictionaries and numbers.",
    "routing",
    "limits",
)

# --- limits of deployments ------------------------------------------------------------------------------------------

DEPLOYMENT_AT_LIMIT = Reason(
    "a deployment at its limit",
    "LiteLLM raises the error.",
    "limits",
)
IO_TOKEN_LIMITS = Reason(
    "limits of input or output tokens",
    "The deployment has `itpm` or `otpm`, which LiteLLM reserves and settles.",
    "limits",
)

LIMITER_REDIS = Reason(
    "a limiter with Redis",
    "LiteLLM's scripts decide on the server.",
    "limits",
)
LIMITER_METHODS = Reason(
    "a limiter with parts of its own",
    "The proxy's limiter, or its cache, is of somebody's own class, or holds a function in the place of a method.",
    "limits",
)
LIMITER_PATCHED = Reason(
    "LiteLLM's limiter is patched",
    "A function or class that the decision goes around is another one than when the component joined the proxy.",
    "limits",
)
LIMITER_UNPROVEN = Reason(
    "a limiter that is not proven",
    "The proxy's limiter is of an unknown release, or decided otherwise than the component when they were compared.",
    "limits",
)
LIMITER_BUSY = Reason(
    "another decision is under way",
    "The limiter is locked, by a batch of requests or a script that is awaited.",
    "limits",
)
LIMITER_DESCRIPTORS = Reason(
    "limits of an unknown kind",
    "The limits of a request are not described by LiteLLM's own dictionaries, texts and numbers, or one stands twice.",
    "limits",
)
LIMITER_VALUE = Reason(
    "an unexpected number",
    "A limit, or what the limiter has counted, is no number that is understood.",
    "limits",
)

# --- costs ----------------------------------------------------------------------------------------------------------

USAGE_UNUSUAL = Reason(
    "unusual usage",
    "The usage is of another class, or counts what may be priced otherwise: negative, huge or fractional numbers,"
    " or unknown members.",
    "cost",
)
NO_CHAT_COMPLETION = Reason(
    "no chat completion",
    "The response is not a `ModelResponse`: embeddings, images, speech, streams.",
    "cost",
)
COST_LOGGING_OBJECT = Reason(
    "logging object",
    "LiteLLM tells the call's logging object how the cost is made up.",
    "cost",
)
CUSTOM_PRICING = Reason(
    "custom pricing",
    "The call has prices of its own (`custom_cost_per_token`, `custom_pricing`, …).",
    "cost",
)
UNUSUAL_ARGUMENT = Reason(
    "unusual argument {}",
    "This argument is not known here, or is of an unusual type.",
    "cost",
    "tokens",
)
HIDDEN_PARAMS_UNUSUAL = Reason(
    "unusual hidden params",
    "The response's `_hidden_params` are no dictionary, or have fields of the provider's own.",
    "cost",
)
CHOICES_UNUSUAL = Reason(
    "unusual choices",
    "A choice or message is of another class, or has annotations, by which searches are billed.",
    "cost",
)
DISCOUNT_OR_MARGIN = Reason(
    "discount or margin",
    "`cost_discount_config` or `cost_margin_config` is set.",
    "cost",
)
OTHER_CALL_TYPE = Reason(
    "other call type",
    "Only completions are priced here.",
    "cost",
)
FIRST_PRICED = Reason(
    "first call of its kind",
    "LiteLLM prices the first call of each kind; later ones are served.",
    "cost",
)
OTHER_PROVIDER = Reason(
    "other provider",
    "The provider is not billed by tokens alone.",
    "cost",
)
NO_TOKEN_PRICE = Reason(
    "no price by tokens",
    "LiteLLM has no price for the model, or one by seconds, characters or pictures.",
    "cost",
)
DEPLOYMENT_PRICES = Reason(
    "prices of a deployment",
    "A router's deployment has prices of its own.",
    "cost",
)
PRICES_IN_PLACE = Reason(
    "prices changed in place",
    "`litellm.model_cost` was changed and LiteLLM remembers the old entry. Use `litellm.register_model`.",
    "cost",
)
PRICES_BY_TIME = Reason(
    "prices by time or table",
    "The model has off-peak or tiered prices.",
    "cost",
)
COST_DIFFERS = Reason(
    "differs from stock",
    "Tried on a dozen usages, a price came out otherwise than LiteLLM's. Please report the model.",
    "cost",
)

# --- tokens ---------------------------------------------------------------------------------------------------------

STOCK_REPLACED = Reason(
    "stock function replaced",
    "A function that would be passed by is another one than LiteLLM's: instrumentation or a mock.",
    "tokens",
    "cost",
)
MESSAGES_UNUSUAL = Reason(
    "messages of unusual type",
    "Neither text nor messages are given, or the messages are no list of dictionaries.",
    "tokens",
)
ARGUMENTS_CONFLICT = Reason(
    "conflicting arguments",
    "Text is given together with messages or tools.",
    "tokens",
)
TEXT_UNUSUAL = Reason(
    "text of unusual type",
    "Pass the text as a `str`.",
    "tokens",
)
TOKENS_UNUSUAL = Reason(
    "tokens of unusual type",
    "Pass the tokens as a list.",
    "tokens",
)
TOOLS_UNUSUAL = Reason(
    "tools of unusual type",
    "Pass tools as a list of dictionaries as OpenAI describes them.",
    "tokens",
)
MODEL_UNUSUAL = Reason(
    "model of unusual type",
    "Pass the model as a `str`.",
    "tokens",
)
CUSTOM_TOKENIZER = Reason(
    "custom tokenizer",
    "The call has a tokenizer of its own.",
    "tokens",
)
TOOL_CHOICE_UNUSUAL = Reason(
    "tool choice of unusual type",
    "Pass the tool choice as a text, or as a dictionary that names a function.",
    "tokens",
)
TOOLS_BY_MODEL = Reason(
    "tools in the words of the model",
    "LiteLLM counts the tools of this model by rules of its own.",
    "tokens",
)
MODEL_RESEMBLES = Reason(
    "model known by its resemblance to others",
    "LiteLLM looks for similar names to find the model's tokenizer. Use the model's full name.",
    "tokens",
)
IMAGE_TO_DOWNLOAD = Reason(
    "image to download",
    "LiteLLM downloads the image to learn its size. Pass `use_default_image_token_count=True`.",
    "tokens",
)
HUGGINGFACE_TOKENIZER = Reason(
    "huggingface tokenizer",
    "The model's tokenizer is one of Hugging Face's. `litellm.disable_hf_tokenizer_download = True` has tiktoken "
    "count.",
    "tokens",
)
COUNTER_DISABLED = Reason(
    "token counter disabled",
    "`litellm.disable_token_counter` is set.",
    "tokens",
)
VERBOSE_PRINTING = Reason(
    "verbose printing",
    "LiteLLM prints what it counts. Set `litellm.set_verbose = False`.",
    "tokens",
)
NATIVE_TOKENIZER = Reason(
    "native tokenizer",
    "LiteLLM counts with its own compiled tokenizer.",
    "tokens",
)
LIMITS_UNUSUAL = Reason(
    "unusual limits",
    "LiteLLM's limits for exact counting are no positive numbers.",
    "tokens",
)
UNKNOWN_ENCODING = Reason(
    "unknown encoding",
    "The encoding that tiktoken has for the model is not known here.",
    "tokens",
)
TOKENIZER_DIFFERS = Reason(
    "tokenizer differs",
    "Tried on samples, the tokens differ from tiktoken's. Please report the model.",
    "tokens",
)

# --- the proxy: requests on their way to its endpoints ------------------------------------------------------------

OTHER_ENDPOINT = Reason(
    "another endpoint",
    "The request is for none of the endpoints that are served, or for one that LiteLLM has not imported yet.",
    "proxy",
)
QUERY_STRING = Reason(
    "query string",
    "LiteLLM's framework reads the query string of the request.",
    "proxy",
)
SCOPE_UNKNOWN = Reason(
    "scope key {}",
    "The server or a middleware says something of the request that the framework may read.",
    "proxy",
)
DEPENDENCY_OVERRIDES = Reason(
    "dependency overrides",
    "The application has put something in the place of LiteLLM's authentication (`app.dependency_overrides`).",
    "proxy",
)
ROUTES_UNUSUAL = Reason(
    "unusual routes",
    "One of the application's routes looks at the host, or is of a class that is neither FastAPI's nor LiteLLM's.",
    "proxy",
)
MANY_PATHS = Reason(
    "many paths",
    "Requests have come to many paths already.",
    "proxy",
)
AUTHENTICATION = Reason(
    "authentication: {}",
    "LiteLLM itself authenticates the request, for its key or what it asks for is not of those that are remembered. "
    "It is counted in `partly`, as the rest of it may be served.",
    "proxy",
)
