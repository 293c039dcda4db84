"""Component ``tokens``: LiteLLM's token counting, encoding and decoding for every model whose tokenizer is tiktoken's.

``trim_messages``, ``get_modified_max_tokens``, prompt-cache checks, cost estimates and whatever else counts in LiteLLM
gain by it. Models with other tokenizers (Anthropic's packaged one, Hugging Face, custom) run on stock.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

from litellm_accel import hot
from litellm_accel._backend import chosen
from litellm_accel.components.base import (
    Component,
    ProbeMismatch,
    Replaced,
    Replacement,
    Unavailable,
    with_parameters_of,
)
from litellm_accel.components.beside import Computed
from litellm_accel.components.compared import compared
from litellm_accel.encodings import get_encoding
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Why
from litellm_accel.fastpath.plans.proof import Proof
from litellm_accel.stock import seams
from litellm_accel.stock.guard import is_stock
from litellm_accel.stock.lookups import Package, Untold, copied, reached

_COUNTER = "litellm.litellm_core_utils.token_counter"
_UTILS = "litellm.utils"
_BRIDGE = "litellm.rust_bridge"

_COUNTED_HERE = ("token_counter", "messages_reach_token_count")
_CLASSES = ("_MessageCountParams",)
# What is asked of LiteLLM by name, besides what ``seams.Counting`` asks for.
_ASKED = (
    *_CLASSES,
    "_count_messages",
    "_format_function_definitions",
    "token_counter",
)
_LEFT_TO_STOCK = frozenset(("_count_content_list",))  # images, documents and whatever else is no text

# What our path goes around or asks once and remembers, besides what the functions that count reach in their module.
# While one of these is not LiteLLM's own, calls are declined. Releases lack one or the other.
_RELIED_ON = {
    _UTILS: (
        "_return_huggingface_tokenizer",
        "_return_openai_tokenizer",
        "_select_tokenizer_helper",
        "cleanup_none_field_in_message",
        "convert_list_message_to_dict",
        "convert_to_dict",
        "get_default_encoding",
        "huggingface_tokenizer_kind",
        "print_verbose",
        "select_tokenizer",
        "uses_anthropic_tokenizer",
    ),
    f"{_BRIDGE}.tokenizer": ("_python_encoding", "get_encoding"),
    f"{_BRIDGE}.runtime": ("decision", "run"),
    f"{_BRIDGE}.catalog": ("decision", "rollout"),
    "tiktoken": ("encoding_name_for_model", "get_encoding"),
}

# What applications set at run time, and what we read again when it has been set.
_SETTINGS = {
    "litellm": (
        "anthropic_models",
        "azure_llms",
        "cohere_models",
        "disable_hf_tokenizer_download",
        "disable_token_counter",
        "model_cost",
        "open_ai_chat_completion_models",
        "set_verbose",
    ),
    _UTILS: ("verbose_logger",),
    f"{_BRIDGE}.catalog": ("RULES",),
    "tiktoken.model": ("MODEL_PREFIX_TO_ENCODING", "MODEL_TO_ENCODING"),
}

# Our tokenizer is compared with the one LiteLLM has loaded when it is first used: 0.1 ms.
_SAMPLES = (
    "Hello, world! It's 2026; we'll count 1234567 tokens.\n\n\tThen   some   spaces  \r\n and {'code': [1, 2]}",
    "naïve café – 東京都 한국어 Привет \u0928\u092e\u0938\u094d\u0924\u0947 😀 e\u0301 \u017f \u212a <|endoftext|>",
    "a" * 32 + " " * 90 + "0" * 40 + "\ud83d",
)
#: Whole, as LiteLLM counts it.
_LONG = "\n".join(_SAMPLES[:2]) * 10


class _LiteLLM:
    """LiteLLM as counting sees it: what it relies on, its settings, and the tokenizer of a model."""

    def __init__(self) -> None:
        found = {name: seams.module(name) for name in {_COUNTER: (), **_RELIED_ON, **_SETTINGS}}
        self.modules = {name: module for name, module in found.items() if module is not None}
        asked = [hasattr(self.modules.get(_COUNTER), name) for name in _ASKED]
        self.counting = seams.Counting(self.modules.get(_COUNTER), self.modules[_UTILS])
        if not all(asked) or not self.counting.is_known:
            raise Unavailable("the installed LiteLLM counts in other steps")
        counting = reached(self.modules[_COUNTER], _COUNTED_HERE, _CLASSES, _LEFT_TO_STOCK)
        self.watched = {
            name: [held for held in names if hasattr(self.modules[name], held)]
            for name, names in {**_RELIED_ON, _COUNTER: counting}.items()
            if name in self.modules
        }
        self.own = {
            module: [(name, own) for name in names if callable(own := _own(self.modules[module], name))]
            for module, names in self.watched.items()
        }
        self.litellm = self.modules["litellm"]
        self.counter = self.modules[_COUNTER]
        self.utils = self.modules[_UTILS]
        self.tiktoken = self.modules["tiktoken"]
        self.codec = {name: vars(self.tiktoken.Encoding)[name] for name in ("encode", "decode")}

    def snapshot(self) -> hot.token_counter.Snapshot:
        """Read a ``Snapshot`` of what counting depends on."""
        names = {name: (*self.watched.get(name, ()), *_SETTINGS.get(name, ())) for name in self.modules}
        tables = self.modules["tiktoken.model"]
        # The bindings come first: what is set while we read makes the snapshot outdated at once.
        bindings = hot.bindings.Bindings(
            (
                *((self.modules[module], watched) for module, watched in names.items()),
                (tables.MODEL_TO_ENCODING, None),
                (tables.MODEL_PREFIX_TO_ENCODING, None),
                (self.tiktoken.Encoding, tuple(self.codec)),
            )
        )
        return hot.token_counter.Snapshot(
            bindings,
            {function: function.__defaults__ for function in self.counting.limited},
            self._refusal(),
            self.counter.verbose_logger.isEnabledFor,
            self.registries(),
            self.refuse,
            self._load,
        )

    def registries(self) -> tuple[Any, ...]:
        """Return the containers of model names that decide which tokenizer a model has."""
        litellm = self.litellm
        return (
            litellm.azure_llms,
            litellm.open_ai_chat_completion_models,
            litellm.cohere_models,
            litellm.anthropic_models,
        )

    def refuse(self, model: str | None) -> decline.Why | None:
        """Return why the tokenizer of ``model`` is not ours, or None."""
        if model is None or self.litellm.disable_hf_tokenizer_download is True:
            return None
        return decline.HUGGINGFACE_TOKENIZER if self.counting.is_huggingface(model) else None

    def _refusal(self) -> decline.Why | None:
        for module, names in self.own.items():
            if any(vars(self.modules[module]).get(name) is not own for name, own in names):
                return decline.STOCK_REPLACED
        if any(vars(self.tiktoken.Encoding).get(name) is not own for name, own in self.codec.items()):
            return decline.STOCK_REPLACED
        if self.litellm.disable_token_counter is True:
            return decline.COUNTER_DISABLED
        if self.litellm.set_verbose is True:
            return decline.VERBOSE_PRINTING
        bridge = self.modules.get(f"{_BRIDGE}.tokenizer")
        if bridge is not None:
            rollout = self.modules[f"{_BRIDGE}.catalog"].rollout(bridge.TIKTOKEN_CONTEXT)
            if rollout.name != "PYTHON_ONLY":
                return decline.NATIVE_TOKENIZER
        if not all(type(limit) is int and limit > 0 for limit in self.counting.limits()):
            return decline.LIMITS_UNUSUAL
        return None

    def _load(self, model: str | None) -> tuple[hot.token_counter.CountFunction | Why, hot.token_counter.Lookups]:
        """Return the ``CountFunction`` of ``model``, or why there is none, and what LiteLLM looked up for it.

        LiteLLM loads its own tokenizer, as ever.
        """
        package = Package(self.litellm)
        names = copied(self.counter, _CLASSES)
        names["litellm"] = package
        try:
            params = _params(names, model, None if model is None else _ANY_TIKTOKEN)
            if model is None:
                stock = self.counting.default_encoding()
            else:
                stock = self.counting.encoding_of(model, names, params.count_function)
        except Untold:
            return decline.MODEL_RESEMBLES, ()
        return self._compared(stock, params), tuple(package.found)

    def _compared(self, stock: Any, params: Any) -> hot.token_counter.CountFunction | Why:
        """Return a ``CountFunction`` over ``stock``'s vocabulary, or why there is none."""
        if type(stock) is not self.tiktoken.Encoding:
            return decline.NATIVE_TOKENIZER
        try:
            encoding = get_encoding(stock.name)
        except ValueError:
            return decline.UNKNOWN_ENCODING
        for text in _SAMPLES:
            tokens = stock.encode(text, disallowed_special=())
            if encoding.encode_ordinary(text) != tokens or encoding.count(text) != len(tokens):
                return decline.TOKENIZER_DIFFERS
            if encoding.decode(tokens) != stock.decode(tokens):
                return decline.TOKENIZER_DIFFERS
        counted = self.count_function(encoding, params, *self.counting.limits())
        return counted if counted(_LONG) == params.count_function(_LONG) else decline.TOKENIZER_DIFFERS

    def count_function(
        self, encoding: Any, params: Any, chunk_chars: int, max_exact_chars: int
    ) -> hot.token_counter.CountFunction:
        """Return a ``CountFunction`` over ``encoding`` with the message arithmetic of LiteLLM's ``params``."""
        return hot.token_counter.CountFunction(
            encoding,
            params,
            self.counting.samples,
            chunk_chars,
            max_exact_chars,
            getattr(params, "tool_section", None) is None,  # earlier releases have none
        )


def _params(names: Mapping[str, Any], model: str | None, tokenizer: Any) -> Any:
    """Return what LiteLLM counts messages by, made by its class among ``names``."""
    kind = names["_MessageCountParams"]
    return kind(model, tokenizer, **seams.taken_by(kind, {"chat_template_tools": False}))


def _own(module: ModuleType, name: str) -> Any:
    """Return what ``module`` has under ``name``. Raises ``Unavailable`` if that is not its own or borrowed."""
    found = getattr(module, name)
    if not is_stock(found):
        raise Unavailable(f"{module.__name__}:{name} has been replaced")
    return found


def is_decoding() -> bool:
    """Return whether tokens are decoded here: without compiled code tiktoken is faster at that."""
    return all(chosen(name).kind == "compiled" for name in ("bpe", "token_counter"))


class Tokens(Component):
    name = "tokens"
    hot_modules = ("bindings", "bpe", "function_definitions", "token_counter")

    @property
    def summary(self) -> str:  # type: ignore[override]
        """Return what is served, on this backend."""
        if is_decoding():
            return "token counting, encoding and decoding with tiktoken's vocabularies"
        return "token counting and encoding with tiktoken's vocabularies; decoding stays LiteLLM's: no compiled code"

    _proof: Proof | None = None

    @property
    def proof(self) -> Proof | None:
        """How calls are proven, while the component is active and LiteLLM is of no known release."""
        return None if self._proof is None or self._proof.is_known else self._proof

    def replacements(self, gate: hot.gate.Gate) -> Sequence[Replacement]:
        self._litellm = _LiteLLM()
        counter = hot.token_counter.TokenCounter(
            gate, self._litellm.snapshot, self._litellm.counter, self._litellm.utils
        )

        proof = self._proof = Proof(gate, self._litellm.modules, [_COUNTER])

        def declined(name: str) -> Any:
            return gate.decline(decline.UNUSUAL_ARGUMENT.of(name))

        def served(fast: Callable[..., Any]) -> Callable[[FunctionType], Callable[..., Any]]:
            def build(stock: FunctionType) -> Callable[..., Any]:
                found = with_parameters_of(stock, fast, declined)
                call: Callable[..., Any] = gate.pure(compared(proof, found, stock), stock, Computed(stock, found))
                return call

            return build

        replaced = [
            Replacement(f"{_COUNTER}:token_counter", served(counter.token_counter)),
            Replacement(f"{_UTILS}:encode", served(counter.encode)),
        ]
        if hasattr(self._litellm.counter, "messages_reach_token_count"):
            reach = served(counter.messages_reach_token_count)
            replaced.append(Replacement(f"{_COUNTER}:messages_reach_token_count", reach))
        if is_decoding():
            replaced.append(Replacement(f"{_UTILS}:decode", served(counter.decode)))
        return replaced

    def prove(self, replaced: Mapping[str, Replaced]) -> None:
        """Rehearse the arithmetic against LiteLLM's own code, with a ruler in the place of the tokenizer.

        Loading a vocabulary costs 0.1 s and waits for the first count, which compares ours with LiteLLM's. So LiteLLM's
        functions run here over a copy of their module's names, in which every encoding is a ruler that is sensitive to
        where text is cut, and the limits are small enough for short text to be cut and sampled.
        """
        litellm = self._litellm
        stock = _rehearsal(litellm.counter, litellm.counting)
        longest = sys.maxsize if litellm.counting.samples is None else _MAX_EXACT_CHARS

        def read() -> hot.token_counter.Snapshot:
            def count_function(
                model: str | None,
            ) -> tuple[hot.token_counter.CountFunction | Why, hot.token_counter.Lookups]:
                params = _params(stock, model, _ANY_TIKTOKEN)
                return litellm.count_function(_Ruler(), params, _CHUNK_CHARS, longest), ()

            return hot.token_counter.Snapshot(
                hot.bindings.Bindings(()),
                {},
                None,
                lambda level: False,  # records of what is tried out go nowhere
                litellm.registries(),
                lambda model: None,
                count_function,
            )

        gate = hot.gate.Gate("rehearsal")
        ours = hot.token_counter.TokenCounter(gate, read, litellm.counter, litellm.utils)
        for call in _rehearsed_calls():
            arguments = {**_DEFAULTS, **call}
            try:
                expected = stock["token_counter"](**{**arguments, "custom_tokenizer": _ANY_TIKTOKEN})
                counted = ours.token_counter(*arguments.values())
            except Exception as error:
                raise Unavailable(f"the installed LiteLLM counts differently: {error!r}") from error
            if counted != expected:
                raise ProbeMismatch(f"token_counter({call!r}) is {counted}, stock {expected}")


_ANY_TIKTOKEN = {"type": "openai_tokenizer"}
_CHUNK_CHARS = 7
_MAX_EXACT_CHARS = 100
_DEFAULTS: dict[str, Any] = {
    "model": "gpt-4o",
    "custom_tokenizer": None,
    "text": None,
    "messages": None,
    "count_response_tokens": False,
    "tools": None,
    "tool_choice": None,
    "use_default_image_token_count": False,
    "default_token_count": None,
}


class _Ruler:
    """An encoding that measures length: pieces of odd length round up, and the letter e costs more than others."""

    @property
    def encoder(self) -> _Ruler:
        return self

    def encode(self, text: str, *, disallowed_special: object) -> range:
        return range((len(text) + 1) // 2 + text.count("e"))

    def count_chunked(self, text: str, chunk_chars: int) -> int:
        pieces = (text[start : start + chunk_chars] for start in range(0, len(text), chunk_chars))
        return sum(len(self.encode(piece, disallowed_special=())) for piece in pieces)


class _Rulers:
    """In the place of tiktoken: every encoding is a ruler."""

    def get_encoding(self, name: str) -> _Ruler:
        return _Ruler()

    def encoding_for_model(self, model: str) -> _Ruler:
        return _Ruler()

    def encoding_name_for_model(self, model: str) -> str:
        return ""


def _rehearsal(module: ModuleType, counting: seams.Counting) -> dict[str, Any]:
    """Return copies of the functions and classes of LiteLLM's ``module``, over names of their own."""
    limits = {
        "_get_tiktoken_count_function": (_CHUNK_CHARS,),
        "_get_extrapolating_count_function": (_MAX_EXACT_CHARS,),
    }
    names = copied(module, _CLASSES, limits)
    names["get_encoding"] = lambda name: _Ruler()
    counting.encode_by(names, _Ruler())
    names["tiktoken"] = _Rulers()
    return names


def _rehearsed_calls() -> Iterator[dict[str, Any]]:
    yield {"text": ""}
    yield {"text": "The quick brown fox jumps over the lazy dog."}
    yield {"text": "sampled, because it is longer than the limit " * 9, "model": None}
    yield {"text": ["some ", "pieces", 3, "of text"], "model": ""}
    conversation: list[Any] = [
        {"role": "system", "content": "You are terse.", "name": "rules"},
        {"role": "user", "content": [{"type": "text", "text": "What?"}, "a part", _image("low"), _image("auto")]},
        {"role": "assistant", "content": None, "tool_calls": [_call("look", '{"at": "here"}')]},
        {
            "role": "tool",
            "tool_call_id": "call_1",
            "content": "seen",
            "search_results": [{"title": "t", "source": "s"}],
        },
        {"role": "assistant", "content": "", "function_call": {"name": "look", "arguments": "{}"}, "refusal": None},
        {"role": "user", "content": [{"type": "thinking", "thinking": "hm"}]},
    ]
    for model in ("gpt-4o", "gpt-3.5-turbo-0301", "azure/gpt-41", "o3-mini", "a model nobody knows"):
        yield {"messages": conversation, "model": model}
    yield {"messages": tuple(conversation), "count_response_tokens": True}
    yield {"messages": [], "use_default_image_token_count": None}
    for choice in ("auto", "none", {"type": "function", "function": {"name": "look"}}):
        yield {"messages": conversation, "tools": [_TOOL, _TOOL], "tool_choice": choice}
    yield {"messages": conversation[1:], "tools": [_TOOL], "use_default_image_token_count": True}
    for part in ({"type": "unknown"}, {"type": "file", "file": {"filename": "x"}}):  # early releases know no files
        yield {"messages": [{"role": "user", "content": [part]}], "default_token_count": 11}


def _image(detail: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": detail}}


def _call(name: str, arguments: str) -> dict[str, Any]:
    return {"id": "call_1", "type": "function", "function": {"name": name, "arguments": arguments}}


_TOOL = {
    "type": "function",
    "function": {
        "name": "look",
        "description": "Looks at something",
        "parameters": {
            "type": "object",
            "properties": {
                "at": {"type": "string", "enum": ["here", "there"], "description": "Where"},
                "for": {"type": "array", "items": {"type": "integer"}},
                "how": {"type": "object", "properties": {"long": {"type": "number"}, "gently": {"type": "boolean"}}},
            },
            "required": ["at"],
        },
    },
}

COMPONENT = Tokens()
