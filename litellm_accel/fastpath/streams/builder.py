"""Puts the chunks of a text together into a response, as LiteLLM's builder does, by templates learned from it.

Condensed, a stream of text is a few chunks that say the same of themselves and hold a text, a role, a finish reason
and, the last of them, a usage. What of that the builder takes from where, marked chunks show, as in ``templates``.
"""

from __future__ import annotations

import copy
import functools
import threading
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType, SimpleNamespace
from typing import Any

from litellm_accel.fastpath import decline
from litellm_accel.fastpath.known_names import EVENT_MEMBERS, OBFUSCATION
from litellm_accel.fastpath.plans.argument_writes import same
from litellm_accel.fastpath.plans.proof import Proof, Trial
from litellm_accel.fastpath.plans.snapshots import where
from litellm_accel.fastpath.plans.templates import HIDDEN, TemplateLearner, Unrepeatable, state
from litellm_accel.fastpath.streams.pricer import counted
from litellm_accel.hot import streaming, template

_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
# The leaves of a text, in their order: what its chunks say of themselves, all its content, and its tokens.
_LEAVES = ("id", "created", "system_fingerprint", "content", *_COUNTS)
_CONTENT = _LEAVES.index("content")
# What the response of a text may show of a choice.
_SHOWN = ("finish_reason", "index", "role")
_FIRST, _LAST = "first", "last"
_USAGE, _MODEL = "usage", "provider_response_model"
# How a usage is called that the provider has not reported: then LiteLLM counts the tokens of all texts.
_UNREPORTED = "Unreported"
# What OpenAI's chunks say of the stream besides.
_STATED = "service_tier"
# By which a call's ``Logging`` object is asked for the price, and told of a guardrail's work.
_TELLING = "response_cost_calculator", "record_native_bedrock_guardrail"
# By which method LiteLLM finds the tokens of a text, and by which function it counts them.
_PROCESSOR, _USAGE_OF, _COUNTER = "ChunkProcessor", "calculate_usage", "token_counter"
# Numbers in marked chunks are multiples of it, and a little more.
_MARK = 1_000_003
_MAX_CHUNKS = 8
_MAX_TEMPLATES = 256
_MISSING: Any = object()


class Text:
    """What a stream of text has said: its shape, its leaves, and the hidden parameters of its first and last chunk.

    Two texts of one shape differ in nothing but their leaves that a builder might look at.
    """

    def __init__(self, chunks: Sequence[Any], kinds: tuple[Any, ...]) -> None:
        """Read ``chunks``; ``kinds`` are the classes of a chunk, a choice and a delta. Raises ``Unrepeatable``."""
        if not chunks or len(chunks) > _MAX_CHUNKS:
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        self._kinds = kinds
        self._first = vars(chunks[0])
        self._moment = 0.0
        self.texts: list[str] = []
        self.usage: Any = None
        self.hidden: dict[str, dict[str, Any]] = {}
        shape = [self._chunk(chunk, chunk is chunks[-1]) for chunk in chunks]
        found, usage = self._first, self.usage
        if type(found["id"]) is not str or type(found["created"]) is not int or usage is None:
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        if type(found["system_fingerprint"]) not in (str, type(None)):
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        tokens = counted(usage)
        self.is_reported: bool = not type(usage).__name__.startswith(_UNREPORTED)
        is_sum = usage.prompt_tokens + usage.completion_tokens == usage.total_tokens
        if tokens is None or not is_sum or getattr(usage, "cost", None) is not None:
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        content = "".join(self.texts)
        self.leaves: list[Any] = [found["id"], found["created"], found["system_fingerprint"], content]
        self.leaves += [getattr(usage, name) for name in _COUNTS]
        kinds = tuple((type(leaf), bool(leaf)) for leaf in self.leaves)
        self.shape: tuple[Any, ...] = (*shape, type(usage), tokens, kinds, found["model"], found["object"])

    @property
    def content(self) -> str:
        """All its content."""
        content: str = self.leaves[_CONTENT]
        return content

    def count(self, prompt: int, completion: int) -> None:
        """Note the tokens of a text whose provider has not reported them."""
        self.leaves[-len(_COUNTS) :] = prompt, completion, prompt + completion

    def _chunk(self, chunk: Any, is_last: bool) -> tuple[Any, ...]:
        """Return the shape of a chunk."""
        if type(chunk) is not self._kinds[0] or any(vars(chunk).get(n) != self._first.get(n) for n in EVENT_MEMBERS):
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        hidden = chunk.__pydantic_private__[HIDDEN]
        moment = hidden["created_at"]
        if not self._moment <= moment or "provider_specific_fields" in hidden or (_USAGE in hidden and not is_last):
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        self._moment = moment
        self.hidden.setdefault(_FIRST, hidden)
        self.hidden[_LAST] = hidden
        shape: list[Any] = [hidden.get(_MODEL), hidden.get("custom_llm_provider")]
        for name, value in (*vars(chunk).items(), *chunk.__pydantic_extra__.items()):
            shape.append(name)
            if name == _USAGE and is_last and value is not None:
                self.usage = value
            elif name == "choices" and len(value) <= 1:
                shape.append(tuple(map(self._choice, value)))
            elif name == _STATED and type(value) is str:
                shape.append(value)
            elif name not in EVENT_MEMBERS and value is not None and (name != OBFUSCATION or type(value) is not str):
                raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        if is_last and _USAGE not in shape:
            self.usage = hidden.get(_USAGE)
        return tuple(shape)

    def _choice(self, choice: Any) -> tuple[Any, ...]:
        delta = choice.__pydantic_extra__["delta"]
        is_plain = all(value is None for value in vars(delta).values()) and not vars(choice)
        if not is_plain or (type(choice), type(delta)) != self._kinds[1:]:
            raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        shape: list[Any] = [tuple(vars(delta))]
        for name, value in (*choice.__pydantic_extra__.items(), *delta.__pydantic_extra__.items()):
            shape.append(name)
            if name == "content" and type(value) is str:
                self.texts.append(value)
            elif name in _SHOWN:
                shape.append(value)
            elif name != "delta" and value is not None:
                raise Unrepeatable(decline.WHOLE_NOT_PLAIN)
        return tuple(shape)


class Assembler:
    """Puts texts together: ``builder`` is LiteLLM's own, ``kinds`` are the classes of a chunk, a choice and a delta.

    Each kind of text is on trial first: then LiteLLM puts it together as well.
    """

    def __init__(self, builder: FunctionType, kinds: tuple[Any, ...], proof: Proof) -> None:
        self._proof = proof
        # What goes wrong with marked chunks is not logged: its module's functions run over other names.
        names = {**builder.__globals__, "verbose_logger": SimpleNamespace(exception=_unsaid, debug=_unsaid)}
        for name, held in names.items():
            if type(held) is FunctionType and held.__globals__ is builder.__globals__:
                names[name] = _over(names, held)
        # LiteLLM counts tokens that nobody has reported in a method.
        self._expected = threading.local()  # ends of streams are put together in many threads
        processor: Any = names.get(_PROCESSOR)
        self._can_count = hasattr(processor, _USAGE_OF)
        if self._can_count:
            method = getattr(processor, _USAGE_OF)
            over = _over({**method.__globals__, _COUNTER: self._count}, method)
            names[_PROCESSOR] = type(_PROCESSOR, (processor,), {_USAGE_OF: over})
        self._builder = _over(names, builder)
        self._kinds = kinds
        self._templates: dict[Any, template.Template | None] = {}

    def assembled(
        self, chunks: Sequence[Any], provider: Any, count: Callable[[str, str], tuple[int, int]]
    ) -> tuple[Any, Trial] | None:
        """Return the response for ``chunks``, not yet priced, and its trial; None if LiteLLM must put them together.

        ``provider`` is the call's. Where that has not reported them, ``count``, given the model and the content,
        returns how many tokens prompt and completion have.
        """
        try:
            text = Text(chunks, self._kinds)
            key: tuple[Any, ...] = provider, text.shape
            if not text.is_reported:
                if not self._can_count:
                    return None
                try:
                    prompt, completion = count(chunks[0].model, text.content)
                except Exception:  # which LiteLLM meets as well
                    return None
                text.count(prompt, completion)
                key = *key, bool(prompt), bool(completion)
            found = self._templates.get(key, _MISSING)
        except (Unrepeatable, AttributeError, KeyError, TypeError):  # a chunk of another make, or changed since
            return None
        if found is _MISSING:
            if len(self._templates) >= _MAX_TEMPLATES:
                self._templates.clear()
            try:
                trial = Trial(self._proof, functools.partial(self._refuse, key))
                found = self._learned(chunks, text, provider), trial
            except Unrepeatable:
                found = None
            self._templates[key] = found
        return None if found is None else (found[0].build(text.leaves, text.hidden), found[1])

    def _refuse(self, key: Any, difference: str) -> None:
        self._templates[key] = None
        self._proof.refuse(key, difference)

    def _learned(self, chunks: Sequence[Any], text: Text, provider: Any) -> template.Template:
        examples = [_marked(chunks, text, salt) for salt in (1, 2)]
        read = [Text(example, self._kinds) for example in examples]
        if any(each.shape != text.shape for each in read):
            raise Unrepeatable(decline.WHOLE_DIFFERS)
        if not text.is_reported:
            for salt, each in enumerate(read, 1):
                prompt, completion = (
                    leaf and _MARK * salt + place for place, leaf in enumerate(text.leaves[:-1]) if place > _CONTENT
                )
                each.count(prompt, completion)
        results = [self._built(example, provider, each) for example, each in zip(examples, read, strict=True)]
        made = template.Template(_BuilderTemplateLearner(read).node(*results))
        again = made.build(text.leaves, text.hidden)
        if state(again) != state(self._built(chunks, provider, text)):
            raise Unrepeatable(decline.WHOLE_DIFFERS)
        return made

    def _built(self, chunks: Sequence[Any], provider: Any, text: Text) -> Any:
        """Return LiteLLM's response for the ``chunks`` of a ``text``, whose tokens it finds as they are known."""
        deaf = SimpleNamespace(model_call_details={"custom_llm_provider": provider}, **dict.fromkeys(_TELLING, _unsaid))
        self._expected.calls = expected = (
            []
            if text.is_reported
            else [
                ({"model": chunks[0].model, "messages": None}, text.leaves[-3]),
                ({"model": chunks[0].model, "text": text.content, "count_response_tokens": True}, text.leaves[-2]),
            ]
        )
        try:
            built = self._builder(list(chunks), logging_obj=deaf)
        except Exception:
            raise Unrepeatable(decline.WHOLE_DIFFERS) from None
        if expected:
            raise Unrepeatable(decline.WHOLE_DIFFERS)
        return built

    def _count(self, **given: Any) -> int:
        """Return the tokens of what LiteLLM wants counted next, as they are known. Raises ``ValueError`` for others."""
        wanted: dict[str, Any]
        count: int
        wanted, count = self._expected.calls.pop(0)
        if given != wanted:
            raise ValueError("other tokens are counted")
        return count


def _over(names: dict[str, Any], function: FunctionType) -> FunctionType:
    """Return ``function`` as one that looks up its ``names`` there."""
    made = FunctionType(function.__code__, names, function.__name__, function.__defaults__, function.__closure__)
    made.__kwdefaults__ = function.__kwdefaults__
    return made


class Fewer:
    """Fewer chunks that say the same as those of a text, of which LiteLLM's own ``builder`` makes the same response.

    Each kind of text is on trial first: then LiteLLM puts together all of them as well.
    """

    def __init__(self, builder: Callable[..., Any], kinds: tuple[Any, ...], proof: Proof) -> None:
        self._builder = builder
        self._kinds = kinds
        self._proof = proof
        self._trials: dict[Any, Trial | None] = {}

    def of(self, chunks: list[Any]) -> tuple[list[Any], Trial] | None:
        """Return fewer chunks than ``chunks`` and their trial; None if LiteLLM must be given all."""
        fewer = streaming.condensed(chunks, self._kinds)
        try:
            shape = Text(fewer, self._kinds).shape
        except (Unrepeatable, AttributeError, KeyError, TypeError):  # a chunk of another make, or changed since
            return None
        if shape not in self._trials:
            if len(self._trials) >= _MAX_TEMPLATES:
                self._trials.clear()
            self._trials[shape] = Trial(self._proof, functools.partial(self._refuse, shape))
        trial = self._trials[shape]
        return None if trial is None else (fewer, trial)

    def compare(self, fewer: list[Any], response: Any, trial: Trial, messages: Any, logged: Any, count: Any) -> None:
        """Compare what LiteLLM makes of ``fewer`` with its ``response`` for all chunks; nobody is told of the former.

        The rest is what it was given besides: the messages, the ``Logging`` object and what counts the prompt.
        """
        compare(self._builder(fewer, messages, None, None, deaf(logged), count), response, trial)

    def _refuse(self, shape: Any, difference: str) -> None:
        self._trials[shape] = None
        self._proof.refuse(shape, difference)


def compare(made: Any, response: Any, trial: Trial) -> None:
    """Compare what was ``made`` of a text with LiteLLM's ``response``, both priced."""
    if state(made) == state(response):
        trial.agreed()
    else:
        trial.refuse(f"end of a stream, {where(made, response)!r}")


def deaf(logged: Any) -> Any:
    """Return a copy of a ``Logging`` object: what that is told, the object itself is not."""
    copied = copy.copy(logged)
    if copied is not None:
        copied.model_call_details = dict(logged.model_call_details)
    return copied


def _unsaid(*args: Any, **kwargs: Any) -> None:
    """Nobody is told."""


def _marked(chunks: Sequence[Any], text: Text, salt: int) -> list[Any]:
    """Return copies of ``chunks`` with other leaves, unlike in each ``salt``."""
    mark: dict[str, Any] = {
        name: (f"~{salt}~{name}~" if type(leaf) is str else _MARK * salt + index) if leaf else leaf
        for index, (name, leaf) in enumerate(zip(_LEAVES, text.leaves, strict=True))
    }
    usage = copy.deepcopy(text.usage)
    mark["total_tokens"] = mark["prompt_tokens"] + mark["completion_tokens"]
    if text.is_reported:
        vars(usage).update((name, mark[name]) for name in _COUNTS)
    for count in _COUNTS[:2]:
        details = getattr(usage, f"{count}_details", None)
        if getattr(details, "text_tokens", None):
            vars(details)["text_tokens"] = mark[count]
    made: list[Any] = []
    rest = mark["content"]
    for chunk in chunks:
        chunk = chunk.model_copy()
        vars(chunk).update((name, mark[name]) for name in _LEAVES[:3])
        chunk.__pydantic_private__[HIDDEN] = hidden = chunk.__pydantic_private__[HIDDEN].copy()
        if chunk.__pydantic_extra__.get(OBFUSCATION) is not None:
            chunk.__pydantic_extra__[OBFUSCATION] = f"~{salt}~{OBFUSCATION}~{len(made)}~"
        for held in (vars(chunk), chunk.__pydantic_extra__, hidden):
            if held.get(_USAGE) is text.usage:
                held[_USAGE] = usage
        choices = []
        for choice in chunk.choices:
            choice = choice.model_copy()
            delta = choice.__pydantic_extra__["delta"] = choice.__pydantic_extra__["delta"].model_copy()
            if delta.__pydantic_extra__.get("content"):
                delta.__pydantic_extra__["content"], rest = rest, ""
            choices.append(choice)
        vars(chunk)["choices"] = choices
        made.append(chunk)
    return made


class _BuilderTemplateLearner(TemplateLearner):
    """Two responses made of marked texts."""

    def __init__(self, texts: Sequence[Text]) -> None:
        super().__init__(*({(type(leaf), leaf): i for i, leaf in enumerate(text.leaves) if leaf} for text in texts))
        self._hidden = [text.hidden for text in texts]

    def _dict(self, one: dict[Any, Any], two: dict[Any, Any]) -> tuple[Any, ...]:
        kind, keys, nodes = super()._dict(one, two)
        if HIDDEN not in one:
            return kind, keys, nodes
        hidden = self._spread(one[HIDDEN], two[HIDDEN])
        return kind, keys, tuple(hidden if key == HIDDEN else node for key, node in zip(keys, nodes, strict=True))

    def _spread(self, one: Mapping[str, Any], two: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the node for the hidden parameters of a response: those of one chunk, or the same in a copy."""
        for slot in (_LAST, _FIRST):
            pairs = [(made, hidden[slot]) for made, hidden in zip((one, two), self._hidden, strict=True)]
            if all(made is hidden for made, hidden in pairs):
                return (template.SLOT, slot)
            if all(list(m) == list(h) and all(map(same, m.values(), h.values())) for m, h in pairs):
                return (template.DICT, (slot,), ((template.SPREAD, slot),))
        raise Unrepeatable(decline.WHOLE_DIFFERS)
