"""Encodings over both implementations against tiktoken: every public method, over all kinds of text."""

from __future__ import annotations

import base64
import copy
import functools
import hashlib
import json
import os
import pickle
import random
import sysconfig
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import pytest
import tiktoken
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litellm_accel import encodings
from litellm_accel.encodings import Encoding, get_encoding

NAMES = ["cl100k_base", "o200k_base", "o200k_harmony", "p50k_base", "p50k_edit", "r50k_base", "gpt2"]
PATTERNS = ["cl100k_base", "o200k_base", "p50k_base"]
URL = "https://openaipublic.blob.core.windows.net"
LOOPS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

Compare = Callable[[str], None]


@pytest.fixture(scope="module", autouse=True)
def _vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every file that tiktoken's encodings need: LiteLLM's copies, and GPT-2's, which are part of p50k_base's."""
    directory = tmp_path_factory.mktemp("tokenizers")
    (source,) = encodings._litellm_directories()
    for path in source.iterdir():
        if len(path.name) == 40:
            (directory / path.name).symlink_to(path)
    p50k = (source / _cached("encodings/p50k_base.tiktoken")).read_bytes().splitlines(keepends=True)
    r50k = p50k[:50256]
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in r50k}
    printable = {byte: chr(byte) for byte in range(256) if chr(byte).isprintable() and byte != 32}
    others = (byte for byte in range(256) if byte not in printable)
    letters = printable | {byte: chr(256 + index) for index, byte in enumerate(others)}
    words = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}
    merges = [
        " ".join("".join(letters[byte] for byte in part) for part in _halves(ranks, token))
        for token in ranks
        if len(token) > 1
    ]
    _store(
        directory,
        "encodings/r50k_base.tiktoken",
        b"".join(r50k),
        "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930",
    )
    _store(
        directory,
        "gpt-2/encodings/main/encoder.json",
        json.dumps(words | {"<|endoftext|>": 50256}).encode(),
        "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
    )
    _store(
        directory,
        "gpt-2/encodings/main/vocab.bpe",
        "\n".join(["#version: 0.2", *merges, ""]).encode(),
        "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    )
    with mock.patch.dict(os.environ, {"TIKTOKEN_CACHE_DIR": str(directory)}):
        yield


def _cached(path: str) -> str:
    return hashlib.sha1(f"{URL}/{path}".encode()).hexdigest()


def _store(directory: Path, path: str, contents: bytes, digest: str) -> None:
    assert hashlib.sha256(contents).hexdigest() == digest
    (directory / _cached(path)).write_bytes(contents)


def _halves(ranks: dict[bytes, int], token: bytes) -> list[bytes]:
    parts = [bytes([byte]) for byte in token]
    while len(parts) > 2:
        first = min(range(len(parts) - 1), key=lambda index: ranks.get(parts[index] + parts[index + 1], len(ranks)))
        parts[first : first + 2] = [parts[first] + parts[first + 1]]
    return parts


@functools.cache
def _ours(module: ModuleType, name: str) -> Encoding:
    def encoder(*arguments: Any) -> tuple[Any, str]:
        return module.BytePairEncoder(*arguments), "asked for by a test"

    with mock.patch.object(encodings, "_encoder", encoder):
        return Encoding(**encodings._definition(name))


@pytest.fixture
def ours(hot: Callable[[str], ModuleType]) -> Callable[[str], Encoding]:
    """Return an encoding of a name over the implementation under test."""
    return functools.partial(_ours, hot("bpe"))


@pytest.fixture(params=PATTERNS)
def compare(request: pytest.FixtureRequest, ours: Callable[[str], Encoding]) -> Compare:
    """Assert that a text has the same tokens in tiktoken, however it is asked for."""
    stock, encoding = tiktoken.get_encoding(request.param), ours(request.param)

    def check(text: str) -> None:
        tokens = stock.encode_ordinary(text)
        assert encoding.encode_ordinary(text) == tokens
        assert encoding.count(text) == len(tokens)
        assert encoding.decode_bytes(tokens) == stock.decode_bytes(tokens)
        for chunk in (1, 7, 64):
            if len(text) <= 200 * chunk:
                counts = [
                    len(stock.encode_ordinary(text[start : start + chunk])) for start in range(0, len(text), chunk)
                ]
                assert encoding.encoder.count_chunked(text, chunk) == sum(counts)

    return check


# ---------------------------------------------------------------------------------------------------------------------
# Texts
# ---------------------------------------------------------------------------------------------------------------------

ALPHABETS = [
    "a'sS tlLrRe. ",
    "a'stSTrRevVEmMlLdD\u017f\u212a ",  # contractions in all cases, and what folds to their letters
    "aB'sS\u2019t rREe(\n",
    "\n\r \t!a",
    "!\n\r/ a",
    "\n \t\n  a1!",
    "  \u3000\n\u2028\u2029\x0b\x0c\x85\xa0\u1680\u2003\u202f\u205f\u180e\u200b\ufeffx",  # spaces, and what is none
    "aA\u0301\u4e00\u02b0 !",  # letters without case and marks belong to both halves of a word in o200k
    "\u01c5\u01c6\u01c4a\u0300 'A",
    "0123\u0663\u096b\u00b2\u2167\U0001d7d8a ",  # digits in many scripts
    "\u00e9 \u00f1 \u00df \u0130 \u0131 \u03a9 \u03c2 \u1e9e \u00aa \u00ba \u24b6",
    "\U0001f600\U0001f468\u200d\ufe0f\U0001f3fd a",
    "aaaa ",
    "!?./#-= \n",
    "\u0e01\u0e33\u0e49 \u0915\u094d\u0937\u093f",
    "\ud55c\uad6d\uc5b4 \u4f60\u597d\uff0c\u3002 \u0430\u0411'\u0401 \u05e9\u05dc \u0645\u0631\u062d\u0628\u0627",
    "\x00\x01\x7f\u0378\uffff\ufffd\U0010ffff\U000e0001a ",
    "a\ud83d\ude00\ud800\udfff ",  # surrogates, paired and alone
    "_(){}[];:,.<> \n\t1a",
]
CATEGORIES = sorted({unicodedata.category(chr(code)) for code in range(0x30000)} - {"Cs"})
ANY_CATEGORY = st.one_of([st.characters(categories=[category]) for category in CATEGORIES])
SENTENCES = [
    (
        "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u6563\u6b65\u5427\u3002\u6570"
        "\u5b57123\u3002"
    ),
    (
        "\u6771\u4eac\u306f\u65e5\u672c\u306e\u9996\u90fd\u3067\u3042\u308a\u3001\u30ab\u30bf\u30ab\u30ca\u3082"
        "\u3042\u308a\u307e\u3059\u3002"
    ),
    "\uc548\ub155\ud558\uc138\uc694, \uc624\ub298\uc740 \ub0a0\uc528\uac00 \uc815\ub9d0 \uc88b\ub124\uc694.",
    (
        "\u0421\u044a\u0435\u0448\u044c \u0436\u0435 \u0435\u0449\u0451 \u044d\u0442\u0438\u0445 \u043c\u044f"
        "\u0433\u043a\u0438\u0445 \u0431\u0443\u043b\u043e\u043a \u2014 \u041c\u043e\u0441\u043a\u0432\u0430."
    ),
    (
        "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645\u060c \u0647\u0630\u0627 \u0646"
        "\u0635."
    ),
    (
        "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e, \u092a\u0930\u0940\u0915\u094d"
        "\u0937\u0923\u0964"
    ),
    (
        "Na\xefve caf\xe9s don't \u201cquote\u201d M\xfcller's 1,234.56 \u20ac\u2026 \U0001f468\u200d\U0001f469"
        "\u200d\U0001f467!\n"
    ),
]


@given(data=st.data())
@LOOPS
def test_small_alphabets(compare: Compare, data: st.DataObject) -> None:
    compare(data.draw(st.text(st.sampled_from(data.draw(st.sampled_from(ALPHABETS))), max_size=150)))


@given(text=st.text(ANY_CATEGORY, max_size=40))
@LOOPS
def test_all_categories(compare: Compare, text: str) -> None:
    compare(text)


@pytest.mark.parametrize("seed", range(4))
def test_many_random_texts(compare: Compare, seed: int) -> None:
    """Far more texts than hypothesis has time for, with lengths around those of a window of 64 bytes."""
    source = random.Random(seed)
    for _ in range(1500):
        alphabet = source.choice(ALPHABETS) + source.choice(ALPHABETS) * (source.random() < 0.2)
        compare("".join(source.choices(alphabet, k=source.choice((3, 9, 30, 59, 64, 68, 75, 81, 140)))))


def test_every_character_alone_and_in_company(compare: Compare) -> None:
    codes = [code for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF]
    random.Random(5).shuffle(codes)
    for form in ("{0}", " a{0}1", "A{0}\n'{0}s"):
        for start in range(0, len(codes), 8192):
            compare("".join(form.format(chr(code)) for code in codes[start : start + 8192]))


def test_source_code(compare: Compare) -> None:
    paths = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    assert len(paths) > 100
    for path in paths[::8]:
        compare(path.read_text(encoding="utf-8"))


def test_languages(compare: Compare) -> None:
    source = random.Random(2)
    for _ in range(300):
        sentence = source.choice(SENTENCES)
        start, stop = sorted(source.choices(range(len(sentence) + 1), k=2))
        compare(sentence[start:stop] + source.choice(SENTENCES) * source.randrange(3))


LONG = {
    "letter": "a",
    "capital": "A",
    "blank": " ",
    "digit": "7",
    "line break": "\n",
    "symbol": "!",
    "emoji": "\U0001f600",
    "Han": "\u4e00",
    "mark": "\u0301",
    "zero": "\0",
}


@pytest.mark.parametrize("kind", LONG)
def test_long_runs(compare: Compare, kind: str) -> None:
    for length in (*range(1, 40), 63, 64, 65, 127, 128, 129, 1000, 20_000):
        compare(LONG[kind] * length)
        compare("x" + LONG[kind] * length + "y")


def test_long_random_pieces(compare: Compare) -> None:
    source = random.Random(3)
    for alphabet in ("ab", "abcdefghijklmnopqrstuvwxyz", "\u4e00\u4e01\u4e03\u4e8c", "!#=-*"):
        compare("".join(source.choices(alphabet, k=30_000)))
    compare(source.randbytes(30_000).decode("latin-1"))
    compare(source.randbytes(30_000).decode("utf-8", "replace"))


def test_long_runs_of_every_ascii_character(compare: Compare) -> None:
    source = random.Random(11)
    for code in range(128):
        for length in (255, 256, 257, source.randrange(258, 3000)):
            compare(chr(code) * length)


MB = 1_000_000
COSTLY = {kind: character * (MB // len(character.encode())) for kind, character in LONG.items()} | {
    "tab": "\t" * MB,
    "apostrophe": "'" * MB,
    "brace": "{" * MB,
    "accented letter": "\u00e9" * (MB // 2),
    "unassigned": "\u0378" * (MB // 2),
    "digits": "".join(random.Random(1).choices("0123456789", k=MB)),
    "bytes, replaced": random.Random(1).randbytes(MB // 2).decode("utf-8", "replace"),
    "bytes, Latin-1": random.Random(1).randbytes(MB * 2 // 3).decode("latin-1"),
}


@pytest.fixture(scope="module")
def prose() -> str:
    """1 MB of what the installed packages say about themselves."""
    packages = sorted(metadata.distributions(), key=lambda package: package.metadata["Name"])
    text = "".join(package.read_text("METADATA") or "" for package in packages)
    return (text * (1 + MB // len(text)))[:MB]


@pytest.mark.parametrize("backend", ["compiled"], indirect=True)
@pytest.mark.parametrize("name", ["cl100k_base", "o200k_base"])
@pytest.mark.parametrize("kind", COSTLY)
def test_no_text_costs_much_more_than_prose(ours: Callable[[str], Encoding], prose: str, name: str, kind: str) -> None:
    """At most three times the time per byte. Noise only ever adds time: turns are taken until enough is known."""
    encoding = ours(name)
    best = dict.fromkeys((prose, COSTLY[kind]), float("inf"))
    for turn in range(40):
        for text in best:
            size = len(text.encode())
            for _ in range(3):  # the first brings the text's pieces back into the cache
                start = time.thread_time()
                encoding.count(text)
                best[text] = min(best[text], (time.thread_time() - start) / size)
        if turn >= 4 and best[COSTLY[kind]] <= 3 * best[prose]:
            return
    pytest.fail(f"{best[COSTLY[kind]] * 1e9:.1f} ns a byte, prose {best[prose] * 1e9:.1f} ns")


@pytest.mark.parametrize("name", NAMES)
def test_every_token(ours: Callable[[str], Encoding], name: str) -> None:
    stock, encoding = tiktoken.get_encoding(name), ours(name)
    assert encoding._mergeable_ranks == stock._mergeable_ranks
    for token, rank in stock._mergeable_ranks.items():
        assert encoding.encode_single_token(token) == rank
        assert encoding.decode_single_token_bytes(rank) == token
    for text, number in stock._special_tokens.items():
        assert encoding.encode_single_token(text) == number
        # o200k_harmony has two names for one id, and tiktoken decodes it to either.
        assert encoding.decode([number]) in [one for one, own in stock._special_tokens.items() if own == number]
        assert encoding.encode(text, allowed_special="all") == [number]
    everything = list(stock._mergeable_ranks.values())
    assert encoding.decode_bytes(everything) == stock.decode_bytes(everything)
    text = stock.decode(everything)
    assert encoding.encode_ordinary(text) == stock.encode_ordinary(text)


# ---------------------------------------------------------------------------------------------------------------------
# The interface
# ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_interface(ours: Callable[[str], Encoding], name: str) -> None:
    stock, encoding = tiktoken.get_encoding(name), ours(name)
    texts = ["", "hello world", *SENTENCES]
    for attribute in ("name", "max_token_value", "n_vocab", "eot_token", "special_tokens_set", "_pat_str"):
        assert getattr(encoding, attribute) == getattr(stock, attribute)
    assert isinstance(encoding, tiktoken.Encoding)
    assert repr(encoding) == repr(stock)
    tokens = stock.encode_batch(texts)
    assert encoding.encode_batch(texts) == encoding.encode_ordinary_batch(texts) == tokens
    assert encoding.count_batch(texts) == list(map(len, tokens))
    assert encoding.decode_batch(tokens) == texts
    assert encoding.decode_bytes_batch(tokens) == [text.encode() for text in texts]
    (stable, completions), (stock_stable, stock_completions) = (
        one.encode_with_unstable("hello fanta") for one in (encoding, stock)
    )
    assert (stable, sorted(completions)) == (stock_stable, sorted(stock_completions))
    assert encoding.token_byte_values() == stock.token_byte_values()
    for text, numbers in zip(texts, tokens, strict=True):
        ours_array, stock_array = encoding.encode_to_numpy(text), stock.encode_to_numpy(text)
        assert ours_array.tolist() == stock_array.tolist()
        assert (ours_array.dtype, ours_array.flags.writeable) == (stock_array.dtype, stock_array.flags.writeable)
        assert encoding.decode(numbers) == encoding.decode(ours_array) == encoding.decode(tuple(numbers)) == text
        assert encoding.decode_tokens_bytes(numbers) == stock.decode_tokens_bytes(numbers)
        assert encoding.decode_with_offsets(numbers) == stock.decode_with_offsets(numbers)
    assert encoding.decode([stock.encode("\u4e00")[0]], errors="ignore") == stock.decode(
        [stock.encode("\u4e00")[0]], errors="ignore"
    )
    assert [encoding.is_special_token(token) for token in (5, stock.eot_token)] == [False, True]


SPECIAL_TEXTS = [
    "<|endoftext|>",
    "a<|endoftext|>b <|endofprompt|>",
    "<|fim_prefix|>x<|",
    "<|endof",
    "plain",
    "\ud83d\ude00<|endoftext|>\ud800",
]
SPECIAL_POLICIES: list[dict[str, Any]] = [
    {},
    {"disallowed_special": ()},
    {"allowed_special": "all"},
    {"allowed_special": {"<|endoftext|>"}},
    {"allowed_special": {"<|endoftext|>"}, "disallowed_special": ()},
    {"allowed_special": {"<|unknown|>"}, "disallowed_special": ()},
    {"disallowed_special": {"plain"}},
    {"disallowed_special": ["<|endofprompt|>"], "allowed_special": set()},
]


@pytest.mark.parametrize("name", ["cl100k_base", "o200k_harmony", "p50k_edit"])
@pytest.mark.parametrize("policy", SPECIAL_POLICIES, ids=str)
def test_special_tokens(ours: Callable[[str], Encoding], name: str, policy: dict[str, Any]) -> None:
    stock, encoding = tiktoken.get_encoding(name), ours(name)
    for text in SPECIAL_TEXTS:
        for method in ("encode", "encode_to_numpy"):
            assert _outcome(encoding, method, text, **policy) == _outcome(stock, method, text, **policy)


BAD_CALLS: list[tuple[str, Any]] = [
    *[
        (method, text)
        for method in ("encode", "encode_ordinary", "encode_to_numpy")
        for text in (5, None, b"bytes", ["a"])
    ],
    ("encode_to_numpy", "\ud800"),
    *[("encode_single_token", token) for token in ("no such token", "\ud800", 5, b"\xff\xff\xff", "")],
    *[("decode", tokens) for tokens in ([10**6], [-1], [2**40], ["a"], "abc", 5, None, {1, 2}, [1.5], b"abc", [True])],
    *[("decode_single_token_bytes", token) for token in (10**6, -1, 2**40, "a", None, True)],
]


@pytest.mark.parametrize(("method", "argument"), BAD_CALLS, ids=repr)
def test_bad_calls(ours: Callable[[str], Encoding], method: str, argument: Any) -> None:
    assert _outcome(ours("cl100k_base"), method, argument) == _outcome(
        tiktoken.get_encoding("cl100k_base"), method, argument
    )


@pytest.mark.parametrize("argument", [5, None, b"bytes", ["a"]], ids=repr)
def test_count_of_what_is_no_text(ours: Callable[[str], Encoding], argument: Any) -> None:
    kind, *words = _outcome(tiktoken.get_encoding("cl100k_base"), "encode_ordinary", argument)
    assert kind is TypeError
    assert _outcome(ours("cl100k_base"), "count", argument) == (kind, *words)


def _outcome(encoding: tiktoken.Encoding, method: str, *arguments: Any, **options: Any) -> Any:
    try:
        result = getattr(encoding, method)(*arguments, **options)
    except Exception as error:
        # A set's order decides which of several special tokens is named, and how.
        return type(error), *([] if "special token" in str(error) else error.args)
    return list(result) if method == "encode_to_numpy" else result


def test_count_slice(ours: Callable[[str], Encoding]) -> None:
    encoding = ours("o200k_base")
    for text in ("".join(SENTENCES), "plain English, 123 words. " * 20):
        for start, stop in ((0, len(text)), (3, 50), (7, 7), (40, len(text))):
            for chunk in (1, 5, 1000):
                expected = encoding.encoder.count_chunked(text[start:stop], chunk)
                assert encoding.encoder.count_slice(text, start, stop, chunk) == expected
    for bad in ((-1, 2, 5), (3, 2, 5), (0, 10**6, 5), (0, 2, 0)):
        with pytest.raises(ValueError, match=r"slice|chunk_chars"):
            encoding.encoder.count_slice("text", *bad)


# ---------------------------------------------------------------------------------------------------------------------
# Names, copies, threads, processes
# ---------------------------------------------------------------------------------------------------------------------


def test_get_encoding() -> None:
    for name in NAMES:
        encoding = get_encoding(name)
        assert encoding is get_encoding(name)
        assert encoding.encode("hello world") == tiktoken.get_encoding(name).encode("hello world")
    with pytest.raises(ValueError, match=r"Unknown encoding 'nope'.*cl100k_base.*r50k_base"):
        get_encoding("nope")
    with pytest.raises(ValueError, match="Expected a string"):
        get_encoding(5)  # type: ignore[arg-type]


def test_loading_leaves_tiktoken_alone() -> None:
    from tiktoken_ext import openai_public

    before = dict(vars(openai_public))
    encodings._definition("o200k_harmony")
    assert dict(vars(openai_public)) == before


def test_files_are_found_without_litellm_and_without_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.delenv("CUSTOM_TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr("tiktoken.load.read_file", _no_download)
    for name in ("cl100k_base", "o200k_base", "p50k_base"):
        assert isinstance(encodings._definition(name)["mergeable_ranks"], bytes)


def test_a_directory_of_the_users_own_comes_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR")
    monkeypatch.delenv("CUSTOM_TIKTOKEN_CACHE_DIR", raising=False)
    (source,) = encodings._litellm_directories()
    monkeypatch.setenv("CUSTOM_TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("tiktoken.load.read_file_cached", _no_download)
    with pytest.raises(ConnectionError):
        encodings._definition("p50k_base")
    name = _cached("encodings/p50k_base.tiktoken")
    (tmp_path / name).write_bytes((source / name).read_bytes())
    assert isinstance(encodings._definition("p50k_base")["mergeable_ranks"], bytes)
    (tmp_path / name).write_bytes(b"damaged")
    with pytest.raises(ConnectionError):
        encodings._definition("p50k_base")


def _no_download(*arguments: object) -> bytes:
    raise ConnectionError("there is no network here")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda thing: pickle.loads(pickle.dumps(thing))])
def test_copies(ours: Callable[[str], Encoding], duplicate: Callable[[Encoding], Encoding]) -> None:
    known = get_encoding("cl100k_base")
    assert duplicate(known).encoder is known.encoder
    own = duplicate(ours("p50k_edit"))
    assert own.encode("don't <|fim_prefix|>", allowed_special="all") == [9099, 470, 220, 50281]


def test_an_encoding_of_the_users_own(backend: str) -> None:
    ranks = {bytes([byte]): byte for byte in range(256)} | {b"ab": 256, b"abc": 257, b"ca": 258}
    for pattern in (tiktoken.get_encoding("cl100k_base")._pat_str, r"\w+|\W+"):
        arguments: dict[str, Any] = {"pat_str": pattern, "mergeable_ranks": ranks, "special_tokens": {"<end>": 300}}
        stock, encoding = tiktoken.Encoding("own", **arguments), Encoding("own", **arguments)
        for text in ("abcabcab cab", "caab'sabc", ""):
            assert encoding.encode(text) == stock.encode(text)
            assert encoding.count(text) == len(stock.encode(text))
        assert encoding.n_vocab == stock.n_vocab
        assert pickle.loads(pickle.dumps(encoding)).encode("abc<end>", allowed_special="all") == [257, 300]


def test_vocabularies_that_merges_do_not_explain() -> None:
    """Every token must be what its bytes merge into; otherwise tiktoken's own core serves."""
    single = {bytes([byte]): byte for byte in range(256)}
    pattern = tiktoken.get_encoding("cl100k_base")._pat_str
    vocabularies = [
        single | {b"abc": 256},  # nothing leads to it
        single | {b"abc": 256, b"ab": 257},  # a later merge leads to it
        {token: rank + 1 for token, rank in single.items()} | {b"ab": 0},
    ]
    for ranks in vocabularies:
        arguments: dict[str, Any] = {"pat_str": pattern, "mergeable_ranks": ranks, "special_tokens": {}}
        stock, encoding = tiktoken.Encoding("odd", **arguments), Encoding("odd", **arguments)
        assert type(encoding.encoder).__module__ == "litellm_accel._py.bpe"
        for text in ("abc", "ab", "xabcy", "aabcc"):
            assert encoding.encode(text) == stock.encode(text)


def test_another_unicode_version_is_left_to_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("litellm_accel.unicode_classes.mismatch", lambda: "another Unicode version")
    monkeypatch.setattr("litellm_accel._backend.chosen", lambda name: ("compiled", "compiled module imports"))
    encoding = Encoding(**encodings._definition("p50k_base"))
    assert (type(encoding.encoder).__module__, encoding.reason) == ("litellm_accel._py.bpe", "another Unicode version")


def test_sixteen_threads(ours: Callable[[str], Encoding]) -> None:
    encoding, stock = ours("o200k_base"), tiktoken.get_encoding("o200k_base")
    source = random.Random(7)
    words = [path.read_text(encoding="utf-8") for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:12]]
    texts = ["".join(source.sample(words, 3))[: source.choice((50, 5_000, 60_000))] for _ in range(16)]
    expected = [stock.encode_ordinary(text) for text in texts]
    failures: list[int] = []
    barrier = threading.Barrier(16)

    def work(own: int) -> None:
        barrier.wait()
        for turn in range(16):
            index = (own + turn) % 16
            if (
                encoding.count(texts[index]) != len(expected[index])
                or encoding.encode_ordinary(texts[index]) != expected[index]
            ):
                failures.append(index)

    threads = [threading.Thread(target=work, args=(own,)) for own in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_count_batch_in_threads(ours: Callable[[str], Encoding]) -> None:
    encoding = ours("cl100k_base")
    texts = [f"{number} words of text, " * (number % 97 * 8) for number in range(200)]
    expected = [encoding.count(text) for text in texts]
    assert sum(map(len, texts)) > 4 * encodings._THREAD_CHARS
    for threads in (1, 2, 7, 300):
        assert encoding.count_batch(texts, num_threads=threads) == expected
    assert encoding.count_batch([]) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_after_load(ours: Callable[[str], Encoding]) -> None:
    encoding = ours("cl100k_base")
    text = "a text before and after. " * 4000
    expected = encoding.count(text)
    child = os.fork()
    if child == 0:
        right = encoding.count(text) == expected and get_encoding("p50k_base").count("hello world") == 2
        os._exit(0 if right else 1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_fork_while_another_thread_loads() -> None:
    with encodings._lock:
        child = os.fork()
        if child == 0:
            thread = threading.Thread(target=get_encoding, args=("p50k_edit",), daemon=True)
            thread.start()
            thread.join(30)
            os._exit(0 if not thread.is_alive() else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_many_threads_load_one_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encodings, "_encodings", {})
    found: list[Encoding] = []
    threads = [threading.Thread(target=lambda: found.append(get_encoding("p50k_base"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8
    assert len(set(map(id, found))) == 1
