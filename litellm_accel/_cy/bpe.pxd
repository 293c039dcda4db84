"""Token counting for other compiled modules, without the cost of Python calls."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from litellm_accel._cy.merges cimport Vocabulary

cdef enum:
    MAX_SPARE = 4

cdef struct Entry:
    # Of a piece in the cache: 4 bits how many tokens it has, 3 times 20 bits the first tokens.
    uint64_t key  # its first 8 bytes; of a piece of less than 8 bytes padded with zeros, its length in the last byte
    uint64_t tokens

cdef struct LongEntry:
    Entry entry
    uint64_t key  # the further bytes, padded with zeros, the piece's length in the last byte
    uint64_t unused

cdef struct Scratch:
    Entry *short_pieces  # up to 7 bytes; two places for each piece, the later one for what the first held before
    LongEntry *long_pieces  # up to 15 bytes
    uint64_t *memo
    uint64_t *dead
    uint32_t *tokens
    size_t room  # the longest piece that `dead` and `tokens` have room for


cdef class BytePairEncoder:
    cdef Vocabulary vocabulary
    cdef int pattern
    cdef Scratch *home  # used with the GIL held
    cdef Scratch *spare[MAX_SPARE]  # for calls that release it
    cdef int spare_count
    cdef object _stock
    cdef dict _special_tokens
    cdef dict _special_bytes

    cdef Py_ssize_t count_str(self, str text) except -1
    cdef Py_ssize_t count_chunks(self, str text, Py_ssize_t chunk_chars) except -1
    cdef Py_ssize_t count_span(self, str text, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t chunk_chars) except -1
    cdef Py_ssize_t _run(self, const uint8_t *at, Py_ssize_t size, Py_ssize_t chunk_chars, uint32_t *out) except -1
    cdef Scratch *_take_scratch(self) except NULL
    cdef void _return_scratch(self, Scratch *scratch) noexcept
    cdef bint _is_mergeable(self, uint32_t number) noexcept
