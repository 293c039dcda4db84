"""LiteLLM's token counting: texts, conversations, tools, and the encoding and decoding of text.

The arithmetic is LiteLLM's (``litellm/litellm_core_utils/token_counter.py``), which follows the OpenAI cookbook's
"How to count tokens with tiktoken". What is rare or unusual goes through LiteLLM's own helper functions, with our count
function, or is declined.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Container, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from litellm_accel._py.bindings import Bindings
from litellm_accel._py.function_definitions import UnusualToolError, format_function_definitions
from litellm_accel._py.gate import Gate
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved, Why

__all__ = ["CountFunction", "Snapshot", "TokenCounter"]

_DEBUG = 10
_MAX_MODELS = 1024
# What was looked up where, and what was said: values of dicts, whether others hold it.
Lookups = Sequence[tuple[Any, object, object]]
_MAX_DEPTH = 64  # deeper content is LiteLLM's, to run into Python's recursion limit


class CountFunction:
    """Counts the tokens of a text as LiteLLM does for one model: in pieces, and from samples beyond a limit.

    ``encoding`` is an ``Encoding``, whose ``encoder`` counts. ``params`` is what LiteLLM itself counts messages of the
    model by: its count function counts whatever is not a plain ``str``, and its numbers say what a message and a name
    cost besides their texts. ``samples(text, max_exact_chars)`` is LiteLLM's own choice of what to count of longer
    text. ``plain_tools`` is whether the model has no words of its own for tools.
    """

    __slots__ = (
        "_encoder",
        "_samples",
        "_stock",
        "chunk_chars",
        "encoding",
        "max_exact_chars",
        "params",
        "per_message",
        "per_name",
        "plain_tools",
    )

    def __init__(
        self,
        encoding: Any,
        params: Any,
        samples: Callable[[str, int], Sequence[str]],
        chunk_chars: int,
        max_exact_chars: int,
        plain_tools: bool,
    ) -> None:
        self.encoding = encoding
        self._encoder = encoding.encoder
        self.params = params
        self._stock = params.count_function
        self._samples = samples
        self.chunk_chars = chunk_chars
        self.max_exact_chars = max_exact_chars
        self.per_message = params.tokens_per_message
        self.per_name = params.tokens_per_name
        self.plain_tools = plain_tools

    def __call__(self, text: str) -> int:
        """Return the number of tokens of ``text``."""
        if type(text) is not str:
            told: int = self._stock(text)
            return told
        if len(text) <= self.max_exact_chars:
            return self._exactly(text)
        samples = self._samples(text, self.max_exact_chars)
        sampled_chars = sum(map(len, samples))
        return round(sum(map(self._exactly, samples)) * len(text) / sampled_chars)

    def _exactly(self, text: str) -> int:
        tokens: int = self._encoder.count_chunked(text, self.chunk_chars)
        return tokens


class Snapshot:
    """What LiteLLM's counting depends on, as of one moment: a new one is read when this one is ``outdated``.

    ``refusal`` says why nothing can be served, or is None; ``debugging(level)`` tells whether LiteLLM logs. Which
    tokenizer a model has follows from the model's name and from containers that applications change at run time: its
    membership in ``registries``, and what else LiteLLM looks up. What is remembered of a model holds while these say
    the same. ``refuse(model)`` returns why a model's tokenizer is not ours, or None; ``load(model)`` returns its
    ``CountFunction``, or why there is none, and the ``Lookups`` that this followed from.
    """

    __slots__ = (
        "_bindings",
        "_defaults",
        "_functions",
        "_load",
        "_refusals",
        "_refuse",
        "_registries",
        "debugging",
        "refusal",
    )

    def __init__(
        self,
        bindings: Bindings,
        defaults: Mapping[FunctionType, tuple[Any, ...] | None],
        refusal: Why | None,
        debugging: Callable[[int], bool],
        registries: Sequence[Container[str]],
        refuse: Callable[[str | None], Why | None],
        load: Callable[[str | None], tuple[CountFunction | Why, Lookups]],
    ) -> None:
        self._bindings = bindings
        self._defaults = tuple(defaults.items())
        self.refusal = refusal
        self.debugging = debugging
        self._registries = tuple(registries)
        self._refuse = refuse
        self._load = load
        self._refusals: dict[str | None, tuple[int, Any, Lookups]] = {}
        self._functions: dict[str | None, tuple[int, Any, Lookups]] = {}

    def outdated(self) -> bool:
        """Return whether a watched name or a function's default arguments changed since."""
        for function, defaults in self._defaults:
            if function.__defaults__ is not defaults:
                return True
        return self._bindings.changed()

    def model_refusal(self, model: str | None) -> Why | None:
        """Return why text of ``model`` is not encoded here, or None."""
        refusal: Why | None = self._of_model(self._refusals, model, self._find_refusal)
        return refusal

    def count_function(self, model: str | None) -> CountFunction | Why:
        """Return the count function of ``model``, or why there is none."""
        function: CountFunction | Why = self._of_model(self._functions, model, self._find_function)
        return function

    def _find_refusal(self, model: str | None) -> tuple[Why | None, Lookups]:
        return self._refuse(model), ()

    def _find_function(self, model: str | None) -> tuple[CountFunction | Why, Lookups]:
        refusal = self._refuse(model)
        return self._load(model) if refusal is None else (refusal, ())

    def _of_model(
        self,
        known: dict[str | None, tuple[int, Any, Lookups]],
        model: str | None,
        find: Callable[[str | None], tuple[Any, Lookups]],
    ) -> Any:
        membership = self._membership(model)
        found = known.get(model)
        if found is None or found[0] != membership or not _hold(found[2]):
            if len(known) >= _MAX_MODELS:
                known.clear()
            found = known[model] = (membership, *find(model))
        return found[1]

    def _membership(self, model: str | None) -> int:
        bits = 0
        for registry in self._registries:
            bits = bits << 1 | (model in registry)
        return bits


def _hold(lookups: Lookups) -> bool:
    """Return whether containers say what they said."""
    for container, key, said in lookups:
        found = container.get(key) if isinstance(container, dict) else key in container
        if found is not said and found != said:
            return False
    return True


class TokenCounter:
    """Serves LiteLLM's counting functions, with their arguments and results; declines what it does not fully know.

    ``read()`` returns a ``Snapshot`` of LiteLLM. ``stock`` is LiteLLM's module ``token_counter``, whose helpers count
    what is rare, and ``utils`` its module ``utils``.
    """

    def __init__(self, gate: Gate, read: Callable[[], Snapshot], stock: ModuleType, utils: ModuleType) -> None:
        self._gate = gate
        self._read = read
        self._stock = stock
        self._utils = utils
        self._snapshot = read()

    def token_counter(
        self,
        model: object,
        custom_tokenizer: object,
        text: object,
        messages: object,
        count_response_tokens: object,
        tools: object,
        tool_choice: object,
        use_default_image_token_count: object,
        default_token_count: object,
    ) -> object:
        """Serve ``litellm.token_counter``."""
        tokens = 0
        try:
            if text is None and messages is None:
                raise Unserved(decline.MESSAGES_UNUSUAL)
            function = self._count_function(model, custom_tokenizer)
            if text is not None:
                if messages is not None or tools or tool_choice:
                    raise Unserved(decline.ARGUMENTS_CONFLICT)
                return function(self._text(text))
            if use_default_image_token_count is None:
                use_default_image_token_count = False
            dicts = self._dicts(messages)
            for message in dicts:
                tokens += self._message_tokens(function, message, use_default_image_token_count, default_token_count)
            if count_response_tokens is False:
                tokens += self._extra_tokens(function, dicts, tools, tool_choice)
            return tokens
        except Unserved as unserved:
            return self._gate.decline(unserved.args[0])

    def messages_reach_token_count(
        self,
        model: object,
        messages: object,
        threshold: object,
        tools: object,
        use_default_image_token_count: object,
    ) -> object:
        """Serve ``litellm.litellm_core_utils.token_counter.messages_reach_token_count``."""
        try:
            function = self._count_function(model, None)
            dicts = self._dicts(messages)
            tokens = self._extra_tokens(function, dicts, tools, None)
            for message in dicts:
                if tokens >= threshold:  # type: ignore[operator]
                    return True
                tokens += self._message_tokens(function, message, use_default_image_token_count, None)
            return tokens >= threshold  # type: ignore[operator]
        except Unserved as unserved:
            return self._gate.decline(unserved.args[0])

    def encode(self, model: object, text: object, custom_tokenizer: object) -> object:
        """Serve ``litellm.encode``: token ids of ``text`` in LiteLLM's default encoding."""
        try:
            function = self._default_function(model, custom_tokenizer)
            if type(text) is not str:
                raise Unserved(decline.TEXT_UNUSUAL)
            return function.encoding.encode_ordinary(text)
        except Unserved as unserved:
            return self._gate.decline(unserved.args[0])

    def decode(self, model: object, tokens: object, custom_tokenizer: object, skip_special_tokens: object) -> object:
        """Serve ``litellm.decode``: the text of ``tokens`` in LiteLLM's default encoding."""
        try:
            function = self._default_function(model, custom_tokenizer)
            if type(tokens) is not list:
                raise Unserved(decline.TOKENS_UNUSUAL)
            return function.encoding.decode(tokens)
        except Unserved as unserved:
            return self._gate.decline(unserved.args[0])

    def _admit(self, model: object, custom_tokenizer: object) -> Snapshot:
        """Return what counting depends on now. Raises ``Unserved``."""
        snapshot = self._snapshot
        if snapshot.outdated():
            snapshot = self._snapshot = self._read()
        if snapshot.refusal is not None:
            raise Unserved(snapshot.refusal)
        if snapshot.debugging(_DEBUG):
            raise Unserved(decline.LOGGING.of("LiteLLM", "DEBUG"))
        if custom_tokenizer is not None:
            raise Unserved(decline.CUSTOM_TOKENIZER)
        if model is not None and type(model) is not str:
            raise Unserved(decline.MODEL_UNUSUAL)
        return snapshot

    def _count_function(self, model: Any, custom_tokenizer: object) -> CountFunction:
        function = self._admit(model, custom_tokenizer).count_function(model)
        if type(function) is not CountFunction:
            raise Unserved(function)
        return function

    def _default_function(self, model: Any, custom_tokenizer: object) -> CountFunction:
        """Return the count function of LiteLLM's default encoding, which encodes and decodes for every model."""
        snapshot = self._admit(model, custom_tokenizer)
        if model is None:
            raise Unserved(decline.MODEL_UNUSUAL)
        refusal = snapshot.model_refusal(model)
        if refusal is not None:
            raise Unserved(refusal)
        function = snapshot.count_function(None)
        if type(function) is not CountFunction:
            raise Unserved(function)
        return function

    def _text(self, text: object) -> str:
        if type(text) is list:
            return "".join([part for part in text if isinstance(part, str)])
        if type(text) is not str:
            raise Unserved(decline.TEXT_UNUSUAL)
        return text

    def _dicts(self, messages: object) -> list[dict[Any, Any]]:
        """Return messages as dicts, models converted as LiteLLM converts them."""
        dicts = []
        if type(messages) is not list and type(messages) is not tuple:
            raise Unserved(decline.MESSAGES_UNUSUAL)
        for message in messages:
            if type(message) is not dict:
                message = self._utils.convert_to_dict(message)
                if type(message) is not dict:
                    raise Unserved(decline.MESSAGES_UNUSUAL)
            dicts.append(message)
        return dicts

    def _message_tokens(
        self, function: CountFunction, message: dict[Any, Any], default_images: object, default_token_count: object
    ) -> int:
        """Return the tokens of one message: by LiteLLM's own function where there is more than text in it."""
        tokens: int = function.per_message
        for key, value in message.items():
            if value is None:
                continue
            if type(value) is str:
                tokens += function(value)
                if key == "name":
                    tokens += function.per_name
                continue
            part = -1
            if type(value) is list:
                if key == "content":
                    part = self._content_tokens(function, value)
                elif key == "tool_calls":
                    part = self._call_tokens(function, value)
            if part < 0:
                return self._unusual_tokens(function, message, default_images, default_token_count)
            tokens += part
        return tokens

    def _unusual_tokens(
        self, function: CountFunction, message: dict[Any, Any], default_images: object, default_token_count: object
    ) -> int:
        """Return the tokens of a message by LiteLLM's own rules, with our count function."""
        if not default_images and _fetches(message.get("content"), 0):
            raise Unserved(decline.IMAGE_TO_DOWNLOAD)  # once is enough: stock would download again if counting failed
        params = copy.copy(function.params)  # LiteLLM's remembers what it has found out of a model
        params.count_function = function
        tokens: int = self._stock._count_messages(params, [message], default_images, default_token_count)
        return tokens

    def _call_tokens(self, function: CountFunction, calls: list[Any]) -> int:
        """Return the tokens of the arguments in ``tool_calls``, or -1 if these are not the plainest."""
        tokens = 0
        for call in calls:
            called = call.get("function") if type(call) is dict else None
            if type(called) is not dict:
                return -1
            arguments = called.get("arguments")
            if type(arguments) is not str:
                return -1
            tokens += function(arguments)
        return tokens

    def _content_tokens(self, function: CountFunction, parts: list[Any]) -> int:
        """Return the tokens of a message's content parts, or -1 if there are others than texts."""
        tokens = 0
        for part in parts:
            text = part.get("text") if type(part) is dict and part.get("type") == "text" else part
            if type(text) is not str:
                return -1
            tokens += function(text)
        return tokens

    def _tools_text(self, tools: list[Any]) -> str:
        try:
            return format_function_definitions(tools)
        except UnusualToolError:
            text: str = self._stock._format_function_definitions(tools)
            return text

    def _extra_tokens(
        self, function: CountFunction, messages: list[dict[Any, Any]], tools: object, tool_choice: Any
    ) -> int:
        """Return the tokens that prime the reply, define the tools and choose one."""
        tokens = 3
        if not function.plain_tools and (tools or tool_choice):
            raise Unserved(decline.TOOLS_BY_MODEL)
        if tools:
            if type(tools) is not list:
                raise Unserved(decline.TOOLS_UNUSUAL)
            tokens += function(self._tools_text(tools)) + 9
            for message in messages:
                if message.get("role") == "system":
                    tokens -= 4
                    break
        if tool_choice == "none":
            tokens += 1
        elif type(tool_choice) is dict:
            chosen = tool_choice.get("function")
            name = chosen.get("name") if type(chosen) is dict else None
            if type(name) is not str:
                raise Unserved(decline.TOOL_CHOICE_UNUSUAL)
            tokens += 7 + function(name)
        elif tool_choice is not None and type(tool_choice) is not str:
            raise Unserved(decline.TOOL_CHOICE_UNUSUAL)
        return tokens


def _fetches(parts: object, depth: int) -> bool:
    """Return whether content parts, or parts inside them, hold an image that LiteLLM downloads to learn its size."""
    if not isinstance(parts, list):
        return False
    if depth > _MAX_DEPTH:
        return True
    for part in parts:
        if not isinstance(part, dict):
            continue
        image = part.get("image_url")
        if isinstance(image, dict) and image.get("detail") == "high" and str(image.get("url")).startswith("http"):
            return True
        source = part.get("source")
        inner = source.get("content") if isinstance(source, dict) else None
        if _fetches(part.get("content"), depth + 1) or _fetches(inner, depth + 1):
            return True
    return False
