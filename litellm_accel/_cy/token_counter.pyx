# cython: language_level=3, binding=True, boundscheck=False, wraparound=False
"""LiteLLM's token counting: texts, conversations, tools, and the encoding and decoding of text.

The arithmetic is LiteLLM's (``litellm/litellm_core_utils/token_counter.py``), which follows the OpenAI cookbook's
"How to count tokens with tiktoken". What is rare or unusual goes through LiteLLM's own helper functions, with our count
function, or is declined.
"""

from __future__ import annotations

import copy

from cpython.object cimport PyObject
from cpython.sequence cimport PySequence_Contains

from litellm_accel._cy.bindings cimport Bindings
from litellm_accel._cy.bpe cimport BytePairEncoder
from litellm_accel._cy.function_definitions cimport format_function_definitions
from litellm_accel._cy.gate cimport Gate

from litellm_accel._cy.function_definitions import UnusualToolError
from litellm_accel.fastpath import decline
from litellm_accel.fastpath.decline import Unserved

__all__ = ["CountFunction", "Snapshot", "TokenCounter"]

cdef extern from "Python.h":
    PyObject *PyFunction_GetDefaults(object function)  # borrowed

cdef enum:
    MAX_MODELS = 1024
    MAX_DEPTH = 64  # deeper content is LiteLLM's, to run into Python's recursion limit

cdef object _DEBUG = 10


cdef class CountFunction:
    """Counts the tokens of a text as LiteLLM does for one model: in pieces, and from samples beyond a limit.

    ``encoding`` is an ``Encoding``, whose ``encoder`` counts. ``params`` is what LiteLLM itself counts messages of the
    model by: its count function counts whatever is not a plain ``str``, and its numbers say what a message and a name
    cost besides their texts. ``samples(text, max_exact_chars)`` is LiteLLM's own choice of what to count of longer
    text. ``plain_tools`` is whether the model has no words of its own for tools.
    """

    cdef readonly object encoding
    cdef object _encoder
    cdef bint _is_compiled
    cdef object _stock
    cdef object _samples
    cdef readonly Py_ssize_t chunk_chars
    cdef readonly Py_ssize_t max_exact_chars
    cdef readonly object params
    cdef readonly Py_ssize_t per_message
    cdef readonly Py_ssize_t per_name
    cdef readonly bint plain_tools

    def __init__(
        self,
        encoding: object,
        params: object,
        samples: object,
        chunk_chars: int,
        max_exact_chars: int,
        plain_tools: bool,
    ) -> None:
        self.encoding = encoding
        self._encoder = encoding.encoder
        self._is_compiled = isinstance(self._encoder, BytePairEncoder)
        self.params = params
        self._stock = params.count_function
        self._samples = samples
        self.chunk_chars = chunk_chars
        self.max_exact_chars = max_exact_chars
        self.per_message = params.tokens_per_message
        self.per_name = params.tokens_per_name
        self.plain_tools = plain_tools

    def __call__(self, text: object) -> int:
        """Return the number of tokens of ``text``."""
        return self.count(text)

    cdef Py_ssize_t count(self, object text) except -1:
        if type(text) is not str:
            return self._stock(text)
        if len(<str>text) <= self.max_exact_chars:
            return self._exactly(<str>text)
        samples = self._samples(text, self.max_exact_chars)
        sampled_chars = sum(map(len, samples))
        return round(sum([self._exactly(sample) for sample in samples]) * len(<str>text) / sampled_chars)

    cdef Py_ssize_t _exactly(self, str text) except -1:
        if self._is_compiled:
            return (<BytePairEncoder>self._encoder).count_chunks(text, self.chunk_chars)
        return self._encoder.count_chunked(text, self.chunk_chars)


cdef class Snapshot:
    """What LiteLLM's counting depends on, as of one moment: a new one is read when this one is ``outdated``.

    ``refusal`` says why nothing can be served, or is None; ``debugging(level)`` tells whether LiteLLM logs. Which
    tokenizer a model has follows from the model's name and from containers that applications change at run time: its
    membership in ``registries``, and what else LiteLLM looks up. What is remembered of a model holds while these say
    the same. ``refuse(model)`` returns why a model's tokenizer is not ours, or None; ``load(model)`` returns its
    ``CountFunction``, or why there is none, and the ``Lookups`` that this followed from.
    """

    cdef Bindings _bindings
    cdef tuple _defaults
    cdef readonly object refusal
    cdef readonly object debugging
    cdef tuple _registries
    cdef object _refuse
    cdef object _load
    cdef dict _refusals
    cdef dict _functions

    def __init__(
        self,
        bindings: Bindings,
        defaults: dict,
        refusal: object,
        debugging: object,
        registries: object,
        refuse: object,
        load: object,
    ) -> None:
        self._bindings = bindings
        self._defaults = tuple(defaults.items())
        self.refusal = refusal
        self.debugging = debugging
        self._registries = tuple(registries)
        self._refuse = refuse
        self._load = load
        self._refusals = {}
        self._functions = {}

    cpdef bint outdated(self) except -1:
        """Return whether a watched name or a function's default arguments changed since."""
        cdef tuple pair
        for pair in self._defaults:
            if PyFunction_GetDefaults(pair[0]) != <PyObject *>pair[1]:
                return True
        return self._bindings.changed()

    def model_refusal(self, model: object) -> object:
        """Return why text of ``model`` is not encoded here, or None."""
        return self._of_model(self._refusals, model, self._find_refusal)

    cpdef object count_function(self, object model):
        """Return the count function of ``model``, or why there is none."""
        return self._of_model(self._functions, model, self._find_function)

    def _find_refusal(self, model: object) -> tuple:
        return self._refuse(model), ()

    def _find_function(self, model: object) -> tuple:
        refusal = self._refuse(model)
        return self._load(model) if refusal is None else (refusal, ())

    cdef object _of_model(self, dict known, object model, object find):
        cdef Py_ssize_t membership = self._membership(model)
        cdef tuple found = known.get(model)
        if found is None or <Py_ssize_t>found[0] != membership or not _hold(found[2]):
            if len(known) >= MAX_MODELS:
                known.clear()
            found = known[model] = (membership, *find(model))
        return found[1]

    cdef Py_ssize_t _membership(self, object model) except -1:
        cdef Py_ssize_t bits = 0
        for registry in self._registries:
            bits = bits << 1 | PySequence_Contains(registry, model)
        return bits


cdef bint _hold(tuple lookups) except -1:
    """Return whether containers say what they said."""
    for container, key, said in lookups:
        found = container.get(key) if isinstance(container, dict) else key in container
        if found is not said and found != said:
            return False
    return True


cdef class TokenCounter:
    """Serves LiteLLM's counting functions, with their arguments and results; declines what it does not fully know.

    ``read()`` returns a ``Snapshot`` of LiteLLM. ``stock`` is LiteLLM's module ``token_counter``, whose helpers count
    what is rare, and ``utils`` its module ``utils``.
    """

    cdef Gate _gate
    cdef object _read
    cdef object _stock
    cdef object _utils
    cdef Snapshot _snapshot

    def __init__(self, gate: Gate, read: object, stock: object, utils: object) -> None:
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
        cdef CountFunction function
        cdef list dicts
        cdef Py_ssize_t tokens = 0
        try:
            if text is None and messages is None:
                raise Unserved(decline.MESSAGES_UNUSUAL)
            function = self._count_function(model, custom_tokenizer)
            if text is not None:
                if messages is not None or tools or tool_choice:
                    raise Unserved(decline.ARGUMENTS_CONFLICT)
                return function.count(self._text(text))
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
        cdef CountFunction function
        cdef list dicts
        cdef Py_ssize_t tokens
        try:
            function = self._count_function(model, None)
            dicts = self._dicts(messages)
            tokens = self._extra_tokens(function, dicts, tools, None)
            for message in dicts:
                if tokens >= threshold:
                    return True
                tokens += self._message_tokens(function, message, use_default_image_token_count, None)
            return tokens >= threshold
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

    cdef Snapshot _admit(self, object model, object custom_tokenizer):
        """Return what counting depends on now. Raises ``Unserved``."""
        cdef Snapshot snapshot = self._snapshot
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

    cdef CountFunction _count_function(self, object model, object custom_tokenizer):
        function = self._admit(model, custom_tokenizer).count_function(model)
        if type(function) is not CountFunction:
            raise Unserved(function)
        return function

    cdef CountFunction _default_function(self, object model, object custom_tokenizer):
        """Return the count function of LiteLLM's default encoding, which encodes and decodes for every model."""
        cdef Snapshot snapshot = self._admit(model, custom_tokenizer)
        if model is None:
            raise Unserved(decline.MODEL_UNUSUAL)
        refusal = snapshot.model_refusal(model)
        if refusal is not None:
            raise Unserved(refusal)
        function = snapshot.count_function(None)
        if type(function) is not CountFunction:
            raise Unserved(function)
        return function

    cdef str _text(self, object text):
        if type(text) is list:
            return "".join([part for part in <list>text if isinstance(part, str)])
        if type(text) is not str:
            raise Unserved(decline.TEXT_UNUSUAL)
        return text

    cdef list _dicts(self, object messages):
        """Return messages as dicts, models converted as LiteLLM converts them."""
        cdef list dicts = []
        if type(messages) is not list and type(messages) is not tuple:
            raise Unserved(decline.MESSAGES_UNUSUAL)
        for message in messages:
            if type(message) is not dict:
                message = self._utils.convert_to_dict(message)
                if type(message) is not dict:
                    raise Unserved(decline.MESSAGES_UNUSUAL)
            dicts.append(message)
        return dicts

    cdef Py_ssize_t _message_tokens(
        self, CountFunction function, dict message, object default_images, object default_token_count
    ) except -1:
        """Return the tokens of one message: by LiteLLM's own function where there is more than text in it."""
        cdef Py_ssize_t part, tokens = function.per_message
        for key, value in message.items():
            if value is None:
                continue
            if type(value) is str:
                tokens += function.count(value)
                if key == "name":
                    tokens += function.per_name
                continue
            part = -1
            if type(value) is list:
                if key == "content":
                    part = self._content_tokens(function, <list>value)
                elif key == "tool_calls":
                    part = self._call_tokens(function, <list>value)
            if part < 0:
                return self._unusual_tokens(function, message, default_images, default_token_count)
            tokens += part
        return tokens

    cdef Py_ssize_t _unusual_tokens(
        self, CountFunction function, dict message, object default_images, object default_token_count
    ) except -1:
        """Return the tokens of a message by LiteLLM's own rules, with our count function."""
        if not default_images and _fetches(message.get("content"), 0):
            raise Unserved(decline.IMAGE_TO_DOWNLOAD)  # once is enough: stock would download again if counting failed
        params = copy.copy(function.params)  # LiteLLM's remembers what it has found out of a model
        params.count_function = function
        return self._stock._count_messages(params, [message], default_images, default_token_count)

    cdef Py_ssize_t _call_tokens(self, CountFunction function, list calls) except -2:
        """Return the tokens of the arguments in ``tool_calls``, or -1 if these are not the plainest."""
        cdef Py_ssize_t tokens = 0
        for call in calls:
            called = (<dict>call).get("function") if type(call) is dict else None
            if type(called) is not dict:
                return -1
            arguments = (<dict>called).get("arguments")
            if type(arguments) is not str:
                return -1
            tokens += function.count(arguments)
        return tokens

    cdef Py_ssize_t _content_tokens(self, CountFunction function, list parts) except -2:
        """Return the tokens of a message's content parts, or -1 if there are others than texts."""
        cdef Py_ssize_t tokens = 0
        for part in parts:
            text = (<dict>part).get("text") if type(part) is dict and (<dict>part).get("type") == "text" else part
            if type(text) is not str:
                return -1
            tokens += function.count(text)
        return tokens

    cdef str _tools_text(self, object tools):
        try:
            return format_function_definitions(tools)
        except UnusualToolError:
            return self._stock._format_function_definitions(tools)

    cdef Py_ssize_t _extra_tokens(
        self, CountFunction function, list messages, object tools, object tool_choice
    ) except -1:
        """Return the tokens that prime the reply, define the tools and choose one."""
        cdef Py_ssize_t tokens = 3
        if not function.plain_tools and (tools or tool_choice):
            raise Unserved(decline.TOOLS_BY_MODEL)
        if tools:
            if type(tools) is not list:
                raise Unserved(decline.TOOLS_UNUSUAL)
            tokens += function.count(self._tools_text(tools)) + 9
            for message in messages:
                if (<dict>message).get("role") == "system":
                    tokens -= 4
                    break
        if tool_choice == "none":
            tokens += 1
        elif type(tool_choice) is dict:
            chosen = (<dict>tool_choice).get("function")
            name = (<dict>chosen).get("name") if type(chosen) is dict else None
            if type(name) is not str:
                raise Unserved(decline.TOOL_CHOICE_UNUSUAL)
            tokens += 7 + function.count(name)
        elif tool_choice is not None and type(tool_choice) is not str:
            raise Unserved(decline.TOOL_CHOICE_UNUSUAL)
        return tokens


cdef bint _fetches(object parts, Py_ssize_t depth) except -1:
    """Return whether content parts, or parts inside them, hold an image that LiteLLM downloads to learn its size."""
    if not isinstance(parts, list):
        return False
    if depth > MAX_DEPTH:
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
