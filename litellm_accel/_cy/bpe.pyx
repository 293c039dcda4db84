# cython: language_level=3, binding=True, embedsignature=False, annotation_typing=False
# cython: boundscheck=False, wraparound=False, cdivision=True
"""Byte-pair encoding: counts, encodes and decodes text as one tiktoken encoding does."""

# Text is read as UTF-8, cut into pieces by hand-written rules (pretokenizer.pxd), and each piece is looked up in a
# bounded cache or else encoded (merges.pxd). Nothing is allocated for a piece, and counting makes no list of tokens.

from __future__ import annotations

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree, PyMem_RawMalloc
from cpython.number cimport PyNumber_Index
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.string cimport memcmp, memcpy, memset

from litellm_accel._cy.merges cimport (
    BASE_SHIFT, CHECK_SHIFT, FIELD, ID_BITS, MEMO_BITS, NONE, Vocabulary, child_of, compatible, encode_piece,
    encode_run, joints_of, length_of, longest_token, pair_key, slot_of,
)
from litellm_accel._cy.pretokenizer cimport (
    BLOCK_COUNT, BLOCK_SIZE, CL100K, LOWER, MARK, MAX_BLOCKS, NEWLINE, NUMBER, O200K, OTHER_LETTER, R50K, SPACE,
    UPPER, LOOK_AHEAD, Bytes, Classes, any_piece, bits_below, classify_others, piece_starts,
)
from litellm_accel._cy.simd cimport Masks, classify64, highest, load64, lowest

from litellm_accel import unicode_classes

__all__ = ["BytePairEncoder", "UnsupportedEncodingError"]

cdef extern from "Python.h":
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL
    bint PyUnicode_IS_ASCII "PyUnicode_IS_COMPACT_ASCII"(object text)
    bint PySequence_Check(object thing)
    object PySequence_Fast(object sequence, const char *message)
    Py_ssize_t PySequence_Fast_GET_SIZE(object fast)
    PyObject *PySequence_Fast_GET_ITEM(object fast, Py_ssize_t index)  # borrowed
    object PyUnicode_Substring(object text, Py_ssize_t start, Py_ssize_t stop)

cdef enum:
    WINDOW = 64
    SHORT_BITS = 16  # of the number of short pieces in the cache
    LONG_BITS = 15
    MAX_TOKEN = (1 << 20) - 1
    MAX_ATTEMPTS = 16
    LONG_RUN = 256  # bytes; a shorter run of one byte is quicker to encode like any piece
    SHORT = 15  # the longest piece that has a slot, in bytes
    KEPT_ROOM = 1 << 16  # scratch for longer pieces is freed after the call
    RELEASE_BYTES = 1 << 15  # from this size on a call lets other threads run

_WORD_O200K = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]%s[\p{Ll}\p{Lm}\p{Lo}\p{M}]%s(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
)

_PATTERNS = {
    r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s": R50K,
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+"
    r"|\s++$|\s*[\r\n]|\s+(?!\S)|\s": CL100K,
    _WORD_O200K % ("*", "+") + "|" + _WORD_O200K % ("+", "*")
    + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+": O200K,
}

cdef struct Span:
    Bytes at
    Py_ssize_t size
    Py_ssize_t count

cdef Classes CLASSES
cdef uint64_t FIRST_BYTES[16]  # n -> a mask of the first n bytes of 8
cdef bint TABLES_ARE_FILLED = False


cdef int _fill_tables() except -1:
    """Fill the tables, which the first encoder needs; two threads at once fill in the same."""
    global TABLES_ARE_FILLED
    flags = {"u": UPPER, "l": LOWER, "o": OTHER_LETTER, "m": MARK, "n": NUMBER, "s": SPACE, ".": 0}
    classes = bytearray(0x110000)
    for start, stop, letter in unicode_classes.runs():
        if flags[letter]:
            classes[start:stop] = bytes([flags[letter]]) * (stop - start)
    classes[0x0D] = classes[0x0A] = SPACE | NEWLINE
    cdef dict numbers = {}
    cdef int block
    for block in range(BLOCK_COUNT):
        contents = bytes(classes[block * BLOCK_SIZE:(block + 1) * BLOCK_SIZE])
        number = numbers.setdefault(contents, len(numbers))
        if number >= MAX_BLOCKS:
            raise OverflowError("too many different blocks of Unicode classes")
        CLASSES.block_of[block] = number
        memcpy(&CLASSES.flags[<int>number * BLOCK_SIZE], PyBytes_AS_STRING(contents), BLOCK_SIZE)
    cdef int byte
    for byte in range(1, 16):
        FIRST_BYTES[byte] = ~<uint64_t>0 >> (64 - 8 * min(byte, 8))
    TABLES_ARE_FILLED = True
    return 0


class UnsupportedEncodingError(ValueError):
    """This implementation does not cover an encoding; the message says why."""


# ---------------------------------------------------------------------------------------------------------------------
# Scratch
# ---------------------------------------------------------------------------------------------------------------------


cdef Scratch *_new_scratch() noexcept nogil:
    cdef Scratch *scratch = <Scratch *>PyMem_RawCalloc(1, sizeof(Scratch))
    if scratch == NULL:
        return NULL
    scratch.short_pieces = <Entry *>PyMem_RawCalloc(<size_t>1 << SHORT_BITS, sizeof(Entry))
    scratch.long_pieces = <LongEntry *>PyMem_RawCalloc(<size_t>1 << LONG_BITS, sizeof(LongEntry))
    scratch.memo = <uint64_t *>PyMem_RawCalloc(<size_t>1 << MEMO_BITS, sizeof(uint64_t))
    cdef bint complete = scratch.short_pieces != NULL and scratch.long_pieces != NULL and scratch.memo != NULL
    if not complete or not _make_room(scratch, 256):
        _free_scratch(scratch)
        return NULL
    return scratch


cdef void _free_scratch(Scratch *scratch) noexcept nogil:
    if scratch != NULL:
        PyMem_RawFree(scratch.short_pieces)
        PyMem_RawFree(scratch.long_pieces)
        PyMem_RawFree(scratch.memo)
        PyMem_RawFree(scratch.dead)
        PyMem_RawFree(scratch.tokens)
        PyMem_RawFree(scratch)


cdef bint _make_room(Scratch *scratch, size_t size) noexcept nogil:
    """Make `scratch` serve pieces of `size` bytes; where memory is short leave it as it is and return False."""
    cdef uint64_t *dead = <uint64_t *>PyMem_RawCalloc((size >> 6) + 1, sizeof(uint64_t))
    cdef uint32_t *tokens = <uint32_t *>PyMem_RawMalloc(size * sizeof(uint32_t))
    if dead == NULL or tokens == NULL:
        PyMem_RawFree(dead)
        PyMem_RawFree(tokens)
        return False
    PyMem_RawFree(scratch.dead)
    PyMem_RawFree(scratch.tokens)
    scratch.dead = dead
    scratch.tokens = tokens
    scratch.room = size
    return True


# ---------------------------------------------------------------------------------------------------------------------
# The loop over pieces
# ---------------------------------------------------------------------------------------------------------------------


cdef Py_ssize_t _encode_long(
    const Vocabulary *vocabulary, Scratch *scratch, Bytes at, size_t size, uint32_t *out
) noexcept nogil:
    """Return the number of tokens of a piece of any length, or -1 where memory is short; write them to `out`."""
    cdef size_t count = 0
    if size > scratch.room and not _make_room(scratch, size + (size >> 1)):
        return -1
    if size >= LONG_RUN and memcmp(at, at + 1, size - 1) == 0:
        count = encode_run(vocabulary, at[0], size, scratch.tokens)
    if count == 0:
        count = encode_piece(vocabulary, scratch.memo, scratch.dead, at, size, scratch.tokens)
    if out != NULL:
        memcpy(out, scratch.tokens, count * sizeof(uint32_t))
    return count


cdef uint64_t _entry_tokens(const Vocabulary *vocabulary, Scratch *scratch, Bytes at, uint32_t size) noexcept nogil:
    """Encode a piece of at most 15 bytes, for an entry of the cache."""
    cdef uint32_t *tokens = scratch.tokens
    cdef uint64_t count = encode_piece(vocabulary, scratch.memo, scratch.dead, at, size, tokens)
    cdef uint64_t packed = count | <uint64_t>tokens[0] << 4
    if count > 1:
        packed |= <uint64_t>tokens[1] << 24
    if count > 2:
        packed |= <uint64_t>tokens[2] << 44
    return packed


cdef inline uint64_t _look_up(
    const Vocabulary *vocabulary, Scratch *scratch, Bytes at, uint32_t size
) noexcept nogil:
    """Return the tokens of a piece of at most 15 bytes, packed as in `Entry`. 16 bytes can be read from `at`."""
    cdef uint64_t key = load64(at) & FIRST_BYTES[size]
    cdef uint64_t further
    cdef Entry *entry
    cdef Entry latest
    cdef LongEntry *long_entry
    cdef LongEntry latest_long
    if size < 8:
        key |= <uint64_t>size << 56
        entry = &scratch.short_pieces[slot_of(key, SHORT_BITS) & ~<uint32_t>1]
        if entry.key != key:
            latest = entry[1]
            entry[1] = entry[0]
            if latest.key != key:
                latest.key = key
                latest.tokens = _entry_tokens(vocabulary, scratch, at, size)
            entry[0] = latest
        return entry.tokens
    further = (load64(at + 8) & FIRST_BYTES[size - 8]) | <uint64_t>size << 56
    hashed = slot_of(key + further * <uint64_t>0xC2B2AE3D27D4EB4F, LONG_BITS)
    long_entry = &scratch.long_pieces[hashed & ~<uint32_t>1]
    if long_entry.entry.key != key or long_entry.key != further:
        latest_long = long_entry[1]
        long_entry[1] = long_entry[0]
        if latest_long.entry.key != key or latest_long.key != further:
            latest_long.entry.key = key
            latest_long.key = further
            latest_long.entry.tokens = _entry_tokens(vocabulary, scratch, at, size)
        long_entry[0] = latest_long
    return long_entry.entry.tokens


cdef inline uint32_t _encode_short(
    const Vocabulary *vocabulary, Scratch *scratch, Bytes at, uint32_t size, uint32_t *out
) noexcept nogil:
    """Return the number of tokens of a piece of at most 15 bytes, and write them to `out` if it is not NULL.

    16 bytes can be read from `at`, and 3 tokens written to `out` however many there are.
    """
    cdef uint64_t tokens = _look_up(vocabulary, scratch, at, size)
    cdef uint32_t count = tokens & 15
    if out != NULL:
        out[0] = tokens >> 4 & MAX_TOKEN
        out[1] = tokens >> 24 & MAX_TOKEN
        out[2] = tokens >> 44
        if count > 3:
            encode_piece(vocabulary, scratch.memo, scratch.dead, at, size, out)
    return count


cdef Py_ssize_t _encode_any(
    const Vocabulary *vocabulary, Scratch *scratch, Bytes at, size_t size, size_t readable, uint32_t *out
) noexcept nogil:
    """Return the number of tokens of a piece of any length, or -1 where memory is short; write them to `out`."""
    cdef uint8_t padded[16]
    if size > SHORT:
        return _encode_long(vocabulary, scratch, at, size, out)
    if readable >= 16:
        return _encode_short(vocabulary, scratch, at, <uint32_t>size, out)
    memset(padded, 0, 16)
    memcpy(padded, at, size)
    return _encode_short(vocabulary, scratch, padded, <uint32_t>size, out)


cdef inline bint _has_long_words(uint64_t word) noexcept nogil:
    """Whether one of eight bytes begins a character of U+0380 to U+0FFF or U+3000 to U+DFFF.

    These are the scripts from Greek on, without what is Latin or symbols.
    """
    cdef uint64_t ones = 0x0101010101010101
    cdef uint64_t ascii = word & 0x7F * ones
    cdef uint64_t low_range = (ascii + (0x80 - 0x4E) * ones) & ~(ascii + (0x80 - 0x61) * ones)  # 0xCE to 0xE0
    cdef uint64_t high_range = (ascii + (0x80 - 0x63) * ones) & ~(ascii + (0x80 - 0x6E) * ones)  # 0xE3 to 0xED
    return (low_range | high_range) & word & 0x80 * ones != 0


cdef inline Py_ssize_t _encode_text(
    const Vocabulary *vocabulary, int pattern, Scratch *scratch, Bytes at, Bytes end, uint32_t *out
) noexcept nogil:
    """Return the number of tokens of a text, or -1 where memory is short; write them to `out` if it is not NULL.

    `out` has room for 3 more than the text has bytes.
    """
    cdef Py_ssize_t total = 0
    cdef uint8_t tail[WINDOW + 16]
    cdef Bytes general_until = at
    cdef Bytes window
    cdef Masks masks
    cdef uint64_t starts
    cdef uint32_t size, served, start, stop
    cdef Py_ssize_t count
    cdef size_t length
    cdef bint at_end
    cdef bint poor = False  # whether the last window was cut so short that it was not worth its cost
    while at < end:
        start = 0
        at_end = False
        window = at
        size = WINDOW
        if end - at < WINDOW + 16:
            # Reading beyond the text is reading zeros.
            length = min(end - at, WINDOW + 16)
            memcpy(tail, at, length)
            memset(tail + length, 0, WINDOW + 16 - length)
            window = tail
            size = min(<uint32_t>length, <uint32_t>WINDOW)
        # Most text goes by windows. Words of other scripts take much of one, and are faster by the general rules.
        if at >= general_until and not _has_long_words(load64(window)):
            classify64(window, &masks)
            if masks.high:
                served = classify_others(&CLASSES, window, size, pattern, &masks)
                if served + LOOK_AHEAD < size:
                    # What it is cut before is for the general rules; so is the rest, where that comes again and again.
                    general_until = at + (WINDOW if poor else served)
                    poor = served < WINDOW // 4
                else:
                    poor = False
                size = served
            at_end = at + size == end
            if size > LOOK_AHEAD:
                starts = piece_starts(&masks, window, size, pattern)
                if not at_end:
                    starts &= bits_below(size - LOOK_AHEAD)
                if masks.high and starts > 1:
                    # Pieces of rare characters seldom come again; their parts between joints do.
                    starts |= joints_of(vocabulary, window, highest(starts))
                starts &= starts - 1
                while starts:
                    stop = lowest(starts)
                    starts &= starts - 1
                    if stop - start <= SHORT:
                        count = _encode_short(vocabulary, scratch, window + start, stop - start, out)
                    else:
                        count = _encode_long(vocabulary, scratch, window + start, stop - start, out)
                        if count < 0:
                            return -1
                    total += count
                    if out != NULL:
                        out += count
                    start = stop
                at += start
        if start == 0 or at_end:
            # One piece by the general rules: where no window serves, longer than one, or the last.
            length = any_piece(&CLASSES, at, end, pattern) - at
            count = _encode_any(vocabulary, scratch, at, length, end - at, out)
            if count < 0:
                return -1
            total += count
            if out != NULL:
                out += count
            at += length
    return total


cdef inline Bytes _skip_characters(Bytes at, Bytes end, Py_ssize_t count) noexcept nogil:
    """Return where `count` characters of UTF-8 end, or `end`."""
    while at < end:
        at += 1
        if at == end or (at[0] & 0xC0) != 0x80:
            count -= 1
            if count == 0:
                break
    return at


cdef Py_ssize_t _encode_chunks(
    const Vocabulary *vocabulary, int pattern, Scratch *scratch, Bytes at, Bytes end, Py_ssize_t chunk_chars,
    uint32_t *out,
) noexcept nogil:
    """Like `_encode_text`, but every `chunk_chars` characters are a text of their own; 0 means no chunks."""
    cdef Py_ssize_t total = 0
    cdef Py_ssize_t count
    cdef Bytes stop
    if chunk_chars <= 0:
        return _encode_text(vocabulary, pattern, scratch, at, end, out)
    while at < end:
        stop = _skip_characters(at, end, chunk_chars)
        count = _encode_text(vocabulary, pattern, scratch, at, stop, NULL)
        if count < 0:
            return -1
        total += count
        at = stop
    return total


# ---------------------------------------------------------------------------------------------------------------------
# Loading a vocabulary
# ---------------------------------------------------------------------------------------------------------------------


cdef uint8_t BASE64[256]
cdef const char *BASE64_DIGITS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


cdef void _fill_base64() noexcept:
    cdef int value
    memset(BASE64, 0xFF, 256)
    for value in range(64):
        BASE64[<uint8_t>BASE64_DIGITS[value]] = value


_fill_base64()


cdef void *_allocate(size_t count, size_t size, int fill) except NULL:
    cdef void *memory = PyMem_RawMalloc(count * size)
    if memory == NULL:
        raise MemoryError()
    return memset(memory, fill, count * size)


cdef int _parse(Vocabulary *vocabulary, bytes file) except -1:
    """Read the lines of a .tiktoken file (token in base64, blank, rank; ranks ascend) into `text` and `starts`."""
    cdef Bytes at = <Bytes>PyBytes_AS_STRING(file)
    cdef Bytes end = at + PyBytes_GET_SIZE(file)
    cdef uint32_t rank, next_rank = 0
    cdef uint32_t offset = 0
    cdef uint32_t bits, bit_count
    vocabulary.size = int(file[file.rstrip().rindex(b" ") + 1:]) + 1
    if vocabulary.size > min(<Py_ssize_t>MAX_TOKEN, 2 * PyBytes_GET_SIZE(file)):
        raise UnsupportedEncodingError(f"ranks go up to {vocabulary.size - 1}")
    vocabulary.text = <uint8_t *>_allocate(PyBytes_GET_SIZE(file), 1, 0)
    vocabulary.starts = <uint32_t *>_allocate(vocabulary.size + 1, sizeof(uint32_t), 0)
    while at < end:
        bits = bit_count = rank = 0
        start = offset
        while BASE64[at[0]] != 0xFF:  # the object's own NUL ends the last line
            bits = bits << 6 | BASE64[at[0]]
            bit_count += 6
            if bit_count >= 8:
                bit_count -= 8
                vocabulary.text[offset] = <uint8_t>(bits >> bit_count)
                offset += 1
            at += 1
        while at[0] == c"=":
            at += 1
        if at[0] != c" " or offset == start:
            raise UnsupportedEncodingError("the ranks are not lines of base64, blank, number")
        at += 1
        while c"0" <= at[0] <= c"9" and rank <= vocabulary.size:
            rank = rank * 10 + (at[0] - c"0")
            at += 1
        if at < end and at[0] == c"\n":
            at += 1
        elif at < end:
            raise UnsupportedEncodingError("the ranks are not lines of base64, blank, number")
        if rank < next_rank or rank >= vocabulary.size:
            raise UnsupportedEncodingError("ranks do not ascend")
        while next_rank <= rank:  # ranks that no token has are empty
            vocabulary.starts[next_rank] = start
            next_rank += 1
        vocabulary.starts[next_rank] = offset
    return 0


cdef void _add_merge(Vocabulary *vocabulary, uint32_t left, uint32_t right, uint32_t merged) noexcept nogil:
    cdef uint64_t key = pair_key(left, right)
    cdef uint32_t slot = slot_of(key, vocabulary.pair_bits + 3)
    cdef Bytes seam = vocabulary.text + vocabulary.starts[merged] + length_of(vocabulary, left)
    vocabulary.joints[(seam - 1)[0] | <uint32_t>seam[0] << 8] = False
    vocabulary.left[merged] = left
    vocabulary.right[merged] = right
    vocabulary.pair_filter[slot >> 6] |= <uint64_t>1 << (slot & 63)
    slot >>= 3
    while vocabulary.pairs[slot] != 0:
        slot = (slot + 1) & ((<uint32_t>1 << vocabulary.pair_bits) - 1)
    vocabulary.pairs[slot] = key << ID_BITS | merged


cdef struct Draft:
    # A trie while tokens are added: nodes numbered as they are made, 0 the root.
    uint32_t count
    uint32_t room
    uint32_t *token  # node -> its token + 1, or 0
    uint32_t *first_child  # node -> its latest child, or 0
    uint32_t *sibling  # node -> the child its parent got before, or 0
    uint8_t *byte
    uint64_t *edges  # open addressing: (node << 8 | byte) + 1 in the upper half, the child in the lower
    uint32_t edge_bits


cdef int _add_token(Draft *draft, Bytes at, uint32_t length, uint32_t token) except -1:
    """Make the path of a token's bytes."""
    cdef uint32_t node = 0
    cdef uint32_t index, slot
    cdef uint32_t mask = (<uint32_t>1 << draft.edge_bits) - 1
    cdef uint64_t key
    for index in range(length):
        key = (<uint64_t>node << 8 | at[index]) + 1
        slot = slot_of(key, draft.edge_bits)
        while draft.edges[slot] != 0 and draft.edges[slot] >> 32 != key:
            slot = (slot + 1) & mask
        if draft.edges[slot] == 0:
            if draft.count == draft.room:
                raise UnsupportedEncodingError("the tokens share too few prefixes")
            draft.edges[slot] = key << 32 | draft.count
            draft.byte[draft.count] = at[index]
            draft.sibling[draft.count] = draft.first_child[node]
            draft.first_child[node] = draft.count
            draft.count += 1
        node = <uint32_t>draft.edges[slot]
    if draft.token[node] != 0:
        raise UnsupportedEncodingError("two ranks have the same token")
    draft.token[node] = token + 1
    return 0


cdef int _place(Vocabulary *vocabulary, const Draft *draft) except -1:
    """Turn the draft into the double array, node by node: find a base at which all children of the node are free."""
    cdef uint32_t room = 2 * draft.count + 1024
    vocabulary.nodes = <uint64_t *>_allocate(room, sizeof(uint64_t), 0)
    cdef uint32_t *places = <uint32_t *>_allocate(draft.count, sizeof(uint32_t), 0)
    cdef uint8_t *is_base = <uint8_t *>_allocate(room, 1, 0)
    cdef uint32_t node, child, base, place
    cdef uint32_t first_free = 1
    cdef uint32_t attempts
    cdef uint64_t *nodes = vocabulary.nodes
    try:
        for node in range(draft.count):
            if node == 0:
                child = draft.first_child[0]
                while child != 0:
                    vocabulary.roots[draft.byte[child]] = draft.token[child]
                    child = draft.sibling[child]
                continue
            if draft.first_child[node] == 0:
                continue
            place = first_free
            attempts = 0
            while True:
                while nodes[place] != 0:
                    place += 1
                if attempts == 0:
                    first_free = place
                elif attempts == MAX_ATTEMPTS:
                    first_free = place  # what is left free before is not worth the search
                if place + 512 > room:
                    raise UnsupportedEncodingError("the trie has no room")
                child = draft.first_child[node]
                base = place - draft.byte[child]
                if place > draft.byte[child] and not is_base[base]:
                    child = draft.sibling[child]
                    while child != 0 and nodes[base + draft.byte[child]] == 0:
                        child = draft.sibling[child]
                    if child == 0:
                        break
                attempts += 1
                place += 1
            is_base[base] = True
            child = draft.first_child[node]
            while child != 0:
                place = base + draft.byte[child]
                nodes[place] = <uint64_t>base << CHECK_SHIFT | draft.token[child]
                places[child] = place
                child = draft.sibling[child]
            if places[node] == 0:
                vocabulary.roots[draft.byte[node]] |= <uint64_t>base << BASE_SHIFT
            else:
                nodes[places[node]] |= <uint64_t>base << BASE_SHIFT
    finally:
        PyMem_RawFree(places)
        PyMem_RawFree(is_base)
    return 0


cdef int _build_trie(Vocabulary *vocabulary) except -1:
    cdef Draft draft
    cdef uint32_t token, length
    memset(&draft, 0, sizeof(draft))
    draft.count = 1
    draft.edge_bits = (4 * vocabulary.size).bit_length()
    draft.room = <uint32_t>3 << (draft.edge_bits - 2)
    try:
        draft.token = <uint32_t *>_allocate(draft.room, sizeof(uint32_t), 0)
        draft.first_child = <uint32_t *>_allocate(draft.room, sizeof(uint32_t), 0)
        draft.sibling = <uint32_t *>_allocate(draft.room, sizeof(uint32_t), 0)
        draft.byte = <uint8_t *>_allocate(draft.room, 1, 0)
        draft.edges = <uint64_t *>_allocate(<size_t>1 << draft.edge_bits, sizeof(uint64_t), 0)
        for token in range(vocabulary.size):
            length = length_of(vocabulary, token)
            if length > 0:
                _add_token(&draft, vocabulary.text + vocabulary.starts[token], length, token)
        _place(vocabulary, &draft)
    finally:
        PyMem_RawFree(draft.token)
        PyMem_RawFree(draft.first_child)
        PyMem_RawFree(draft.sibling)
        PyMem_RawFree(draft.byte)
        PyMem_RawFree(draft.edges)
    return 0


cdef uint32_t _token_of(const Vocabulary *vocabulary, Bytes at, Bytes end) noexcept nogil:
    """Return the token with exactly these bytes, or NONE."""
    if at == end:
        return NONE
    cdef uint64_t node = vocabulary.roots[at[0]]
    at += 1
    while at < end and node != 0:
        node = child_of(vocabulary, node, at[0])
        at += 1
    return <uint32_t>(node & FIELD) - 1


cdef int _find_merge(Vocabulary *vocabulary, uint32_t token) except -1:
    """Find the two tokens that merge into `token`: both of lower rank, and compatible. Lower ranks have theirs.

    Byte-pair encoding goes by the rank of joint bytes. Where every token has such a pair, only that pair can ever be
    the two neighbours that make it, and merging by pairs is the same.
    """
    cdef Bytes at = vocabulary.text + vocabulary.starts[token]
    cdef Bytes end = at + length_of(vocabulary, token)
    cdef uint32_t right
    cdef size_t length
    cdef uint32_t left = longest_token(vocabulary, at, end - 1, &length)
    vocabulary.shorter[token] = left
    while left != NONE:
        if left < token:
            right = _token_of(vocabulary, at + length_of(vocabulary, left), end)
            if right < token and compatible(vocabulary, left, right):
                _add_merge(vocabulary, left, right, token)
                return 0
            left = vocabulary.shorter[left]
        else:
            left = longest_token(vocabulary, at, at + length_of(vocabulary, left) - 1, &length)
    raise UnsupportedEncodingError(f"no merges of lower rank lead to rank {token}")


cdef int _load(Vocabulary *vocabulary, bytes file) except -1:
    _parse(vocabulary, file)
    cdef uint32_t size = vocabulary.size
    cdef uint32_t token, index
    vocabulary.left = <uint32_t *>_allocate(size, sizeof(uint32_t), 0xFF)
    vocabulary.right = <uint32_t *>_allocate(size, sizeof(uint32_t), 0xFF)
    vocabulary.shorter = <uint32_t *>_allocate(size, sizeof(uint32_t), 0xFF)
    vocabulary.pair_bits = (2 * size).bit_length()
    vocabulary.pairs = <uint64_t *>_allocate(<size_t>1 << vocabulary.pair_bits, sizeof(uint64_t), 0)
    vocabulary.pair_filter = <uint64_t *>_allocate(((<size_t>1 << vocabulary.pair_bits) >> 3) + 1, sizeof(uint64_t), 0)
    memset(vocabulary.joints, True, sizeof(vocabulary.joints))
    _build_trie(vocabulary)
    for index in range(256):
        token = <uint32_t>(vocabulary.roots[index] & FIELD) - 1
        if token >= 256:
            raise UnsupportedEncodingError("the 256 single bytes are not the first 256 ranks")
        vocabulary.left[token] = vocabulary.right[token] = token
    for token in range(256, size):
        if length_of(vocabulary, token) > 0:
            _find_merge(vocabulary, token)
    return 0


# ---------------------------------------------------------------------------------------------------------------------
# The class
# ---------------------------------------------------------------------------------------------------------------------


cdef str _without_surrogates(str text):
    """Return valid Unicode: surrogate pairs joined and lone surrogates replaced, as tiktoken does."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


cdef inline Bytes _utf8(str text, Py_ssize_t *size) except NULL:
    return <Bytes>PyUnicode_AsUTF8AndSize(text, size)


cdef class BytePairEncoder:
    """Encodes text as one tiktoken encoding does.

    ``pat_str`` and ``special_tokens`` (text -> id) are the encoding's; ``ranks`` is the content of a .tiktoken file:
    lines of a token in base64, a blank and its rank. ``stock()`` returns tiktoken's own core of this encoding, which
    words the errors for arguments of wrong types. Special tokens are text like any other in what is encoded or counted
    here. Raises ``UnsupportedEncodingError`` where this implementation does not cover the encoding.

    Calls may come from any thread; calls with long text let other threads run.
    """

    def __cinit__(self) -> None:
        memset(&self.vocabulary, 0, sizeof(self.vocabulary))

    def __init__(self, pat_str: str, ranks: bytes, special_tokens: dict[str, int], stock: object) -> None:
        if self.home != NULL:
            raise TypeError("an encoder is initialised once")
        pattern = _PATTERNS.get(pat_str)
        if pattern is None:
            raise UnsupportedEncodingError("the split pattern is not known")
        self.pattern = pattern
        self._stock = stock
        if not TABLES_ARE_FILLED:
            _fill_tables()
        _load(&self.vocabulary, ranks)
        self._special_tokens = {token.encode(): number for token, number in special_tokens.items()}
        # Of two names for one id (o200k_harmony has such) tiktoken decodes to either; here it is the first.
        self._special_bytes = {number: token for token, number in reversed(self._special_tokens.items())}
        self.home = _new_scratch()
        if self.home == NULL:
            raise MemoryError()

    def __dealloc__(self) -> None:
        cdef int index
        _free_scratch(self.home)
        for index in range(self.spare_count):
            _free_scratch(self.spare[index])
        PyMem_RawFree(self.vocabulary.nodes)
        PyMem_RawFree(self.vocabulary.pairs)
        PyMem_RawFree(self.vocabulary.pair_filter)
        PyMem_RawFree(self.vocabulary.left)
        PyMem_RawFree(self.vocabulary.right)
        PyMem_RawFree(self.vocabulary.shorter)
        PyMem_RawFree(self.vocabulary.starts)
        PyMem_RawFree(self.vocabulary.text)

    def mergeable_ranks(self) -> dict[bytes, int]:
        """Return the rank of every token."""
        cdef uint32_t token
        return {
            self.decode_single_token_bytes(token): token
            for token in range(self.vocabulary.size)
            if self._is_mergeable(token)
        }

    # Counting

    def count(self, text: str) -> int:
        """Return the number of tokens of ``text``: ``len(encode_ordinary(text))``."""
        if not isinstance(text, str):
            return len(self._stock().encode_ordinary(text))
        return self.count_str(text)

    def count_chunked(self, text: str, chunk_chars: int) -> int:
        """Return the sum of the token counts of ``text`` cut into pieces of ``chunk_chars`` characters."""
        if chunk_chars < 1:
            raise ValueError(f"chunk_chars must be at least 1, got {chunk_chars}")
        return self.count_chunks(text, chunk_chars)

    def count_slice(self, text: str, start: int, stop: int, chunk_chars: int) -> int:
        """Return ``count_chunked(text[start:stop], chunk_chars)``; ``0 <= start <= stop <= len(text)``."""
        if not 0 <= start <= stop <= len(text):
            raise ValueError(f"no slice [{start}:{stop}] in a text of {len(text)} characters")
        if chunk_chars < 1:
            raise ValueError(f"chunk_chars must be at least 1, got {chunk_chars}")
        return self.count_span(text, start, stop, chunk_chars)

    def count_many(self, texts: list[str]) -> list[int]:
        """Return the number of tokens of each text."""
        cdef list kept = list(texts)  # of the caller's list another thread could let go a text
        cdef Py_ssize_t number = len(kept)
        cdef Py_ssize_t index
        cdef bint complete = True
        cdef Scratch *scratch
        cdef Span *spans = <Span *>_allocate(number + 1, sizeof(Span), 0)
        try:
            for index in range(number):
                if not isinstance(kept[index], str):
                    return [self.count(text) for text in kept]
                try:
                    spans[index].at = _utf8(<str>kept[index], &spans[index].size)
                except UnicodeEncodeError:
                    kept[index] = _without_surrogates(<str>kept[index])
                    spans[index].at = _utf8(<str>kept[index], &spans[index].size)
            scratch = self._take_scratch()
            with nogil:
                for index in range(number):
                    spans[index].count = _encode_text(
                        &self.vocabulary, self.pattern, scratch, spans[index].at, spans[index].at + spans[index].size,
                        NULL,
                    )
                    complete = complete and spans[index].count >= 0
            self._return_scratch(scratch)
            if not complete:
                raise MemoryError()
            return [spans[index].count for index in range(number)]
        finally:
            PyMem_RawFree(spans)

    cdef Py_ssize_t count_str(self, str text) except -1:
        cdef Py_ssize_t size
        cdef Bytes at
        try:
            at = _utf8(text, &size)
        except UnicodeEncodeError:
            text = _without_surrogates(text)
            at = _utf8(text, &size)
        return self._run(at, size, 0, NULL)

    cdef Py_ssize_t count_chunks(self, str text, Py_ssize_t chunk_chars) except -1:
        cdef Py_ssize_t size
        cdef Bytes at
        cdef Py_ssize_t start, total
        try:
            at = _utf8(text, &size)
        except UnicodeEncodeError:
            # A cut between the halves of a surrogate pair leaves two lone ones.
            total = 0
            for start in range(0, len(text), chunk_chars):
                total += self.count_str(PyUnicode_Substring(text, start, start + chunk_chars))
            return total
        return self._run(at, size, chunk_chars, NULL)

    cdef Py_ssize_t count_span(self, str text, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk_chars) except -1:
        cdef Py_ssize_t size
        if PyUnicode_IS_ASCII(text):
            return self._run(_utf8(text, &size) + start, stop - start, chunk_chars, NULL)
        return self.count_chunks(PyUnicode_Substring(text, start, stop), chunk_chars)

    cdef Py_ssize_t _run(self, Bytes at, Py_ssize_t size, Py_ssize_t chunk_chars, uint32_t *out) except -1:
        """Count the tokens of `size` bytes, and write them to `out` if it is not NULL."""
        cdef Py_ssize_t total
        cdef Scratch *scratch = self.home
        if size < RELEASE_BYTES:
            total = _encode_chunks(&self.vocabulary, self.pattern, scratch, at, at + size, chunk_chars, out)
            if total < 0:
                raise MemoryError()
            return total
        scratch = self._take_scratch()
        with nogil:
            total = _encode_chunks(&self.vocabulary, self.pattern, scratch, at, at + size, chunk_chars, out)
        self._return_scratch(scratch)
        if total < 0:
            raise MemoryError()
        return total

    cdef Scratch *_take_scratch(self) except NULL:
        """Return scratch for a call that lets other threads run."""
        cdef Scratch *scratch
        if self.spare_count:
            self.spare_count -= 1
            return self.spare[self.spare_count]
        scratch = _new_scratch()
        if scratch == NULL:
            raise MemoryError()
        return scratch

    cdef void _return_scratch(self, Scratch *scratch) noexcept:
        if self.spare_count < MAX_SPARE and (scratch.room <= KEPT_ROOM or _make_room(scratch, 256)):
            self.spare[self.spare_count] = scratch
            self.spare_count += 1
        else:
            _free_scratch(scratch)

    # Encoding

    def encode_to_bytes(self, text: str) -> bytes:
        """Return the tokens of ``text`` as unsigned 32-bit integers in the machine's byte order.

        Raises ``UnicodeEncodeError`` for text with surrogates.
        """
        cdef Py_ssize_t size
        cdef Bytes at = _utf8(text, &size)
        cdef uint32_t *tokens = <uint32_t *>PyMem_RawMalloc((size + 3) * sizeof(uint32_t))
        if tokens == NULL:
            raise MemoryError()
        try:
            return PyBytes_FromStringAndSize(<char *>tokens, self._run(at, size, 0, tokens) * sizeof(uint32_t))
        finally:
            PyMem_RawFree(tokens)

    def encode_ordinary(self, text: str) -> list[int]:
        """Return the tokens of ``text``."""
        if not isinstance(text, str):
            return self._stock().encode_ordinary(text)
        cdef Py_ssize_t size, count, index
        cdef Bytes at
        try:
            at = _utf8(text, &size)
        except UnicodeEncodeError:
            text = _without_surrogates(text)
            at = _utf8(text, &size)
        cdef uint32_t *tokens = <uint32_t *>PyMem_RawMalloc((size + 3) * sizeof(uint32_t))
        if tokens == NULL:
            raise MemoryError()
        try:
            count = self._run(at, size, 0, tokens)
            result = PyList_New(count)
            for index in range(count):
                token = <object>tokens[index]
                Py_INCREF(token)
                PyList_SET_ITEM(result, index, token)
            return result
        finally:
            PyMem_RawFree(tokens)

    def encode_single_token(self, token: bytes) -> int:
        """Return the id of a token or special token with exactly these bytes; ``KeyError`` if there is none."""
        if not isinstance(token, bytes):
            return self._stock().encode_single_token(token)
        cdef Bytes at = <Bytes>PyBytes_AS_STRING(token)
        cdef uint32_t number = _token_of(&self.vocabulary, at, at + PyBytes_GET_SIZE(token))
        return self._special_tokens[token] if number == NONE else number

    # Decoding

    def decode_bytes(self, tokens: list[int]) -> bytes:
        """Return the bytes of a sequence of token ids; ``KeyError`` for a number that is no token."""
        if isinstance(tokens, (str, bytes)) or not PySequence_Check(tokens):
            return self._stock().decode_bytes(tokens)
        cdef object numbers = PySequence_Fast(tokens, "not a sequence")
        cdef Py_ssize_t count = PySequence_Fast_GET_SIZE(numbers)
        cdef Py_ssize_t size = 0
        cdef Py_ssize_t index
        cdef uint32_t *ids = <uint32_t *>PyMem_RawMalloc((count + 1) * sizeof(uint32_t))
        cdef char *target
        if ids == NULL:
            raise MemoryError()
        try:
            for index in range(count):
                try:
                    ids[index] = PyNumber_Index(<object>PySequence_Fast_GET_ITEM(numbers, index))
                except (TypeError, OverflowError):
                    return self._stock().decode_bytes(tokens)
                if self._is_mergeable(ids[index]):
                    size += length_of(&self.vocabulary, ids[index])
                elif ids[index] in self._special_bytes:
                    size += len(<bytes>self._special_bytes[ids[index]])
                else:
                    raise KeyError(f"Invalid token for decoding: {ids[index]}")
            result = PyBytes_FromStringAndSize(NULL, size)
            target = PyBytes_AS_STRING(result)
            for index in range(count):
                if self._is_mergeable(ids[index]):
                    size = length_of(&self.vocabulary, ids[index])
                    memcpy(target, self.vocabulary.text + self.vocabulary.starts[ids[index]], size)
                else:
                    size = len(<bytes>self._special_bytes[ids[index]])
                    memcpy(target, PyBytes_AS_STRING(<bytes>self._special_bytes[ids[index]]), size)
                target += size
            return result
        finally:
            PyMem_RawFree(ids)

    def decode_single_token_bytes(self, token: int) -> bytes:
        """Return the bytes of one token id; ``KeyError`` if it is no token."""
        cdef uint32_t number
        try:
            number = PyNumber_Index(token)
        except (TypeError, OverflowError):
            return self._stock().decode_single_token_bytes(token)
        if not self._is_mergeable(number):
            if number in self._special_bytes:
                return self._special_bytes[number]
            raise KeyError(str(number))
        return PyBytes_FromStringAndSize(
            <char *>self.vocabulary.text + self.vocabulary.starts[number], length_of(&self.vocabulary, number)
        )

    cdef inline bint _is_mergeable(self, uint32_t number) noexcept:
        return number < self.vocabulary.size and length_of(&self.vocabulary, number) > 0
