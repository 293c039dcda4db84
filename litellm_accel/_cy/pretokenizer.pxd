"""Where the next piece of a text ends: the split patterns of tiktoken's encodings, written out by hand over UTF-8.

Each rule quotes the part of the regular expression it stands for. Alternatives are tried in order, the first that
matches wins, and `$` means the end of the text only. Texts are valid UTF-8.
"""

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from litellm_accel._cy.simd cimport Masks, continuations64, highest, lowest

cdef enum:  # patterns
    R50K = 0
    CL100K = 1
    O200K = 2

cdef enum:
    UPPER = 1  # \p{Lu} \p{Lt}
    LOWER = 2  # \p{Ll}
    OTHER_LETTER = 4  # \p{Lm} \p{Lo}
    MARK = 8  # \p{M}
    NUMBER = 16  # \p{N}
    SPACE = 32  # \s
    NEWLINE = 64  # \r \n, which are SPACE too
    LETTER = UPPER | LOWER | OTHER_LETTER
    SYMBOL_ENDS = LETTER | NUMBER | SPACE  # what [^\s\p{L}\p{N}] leaves out

cdef enum:
    BLOCK_BITS = 7
    BLOCK_SIZE = 1 << BLOCK_BITS
    BLOCK_COUNT = 0x110000 >> BLOCK_BITS
    MAX_BLOCKS = 512

cdef struct Classes:
    # Two stages: the number of a code point's block, then the class flags of the code points in that block. Blocks that
    # are alike are stored once; the first is ASCII's.
    uint16_t block_of[BLOCK_COUNT]
    uint8_t flags[MAX_BLOCKS * BLOCK_SIZE]

cdef enum:
    LOOK_AHEAD = 3

ctypedef const uint8_t *Bytes


cdef inline uint32_t class_of(const Classes *classes, Bytes at, uint32_t *size) noexcept nogil:
    """Return the class flags of the character that starts at `at`, and its size in bytes."""
    cdef uint32_t lead = at[0]
    cdef uint32_t code
    if lead < 0x80:
        size[0] = 1
        return classes.flags[lead]
    if lead < 0xE0:
        size[0] = 2
        code = (lead & 0x1F) << 6 | (at[1] & 0x3F)
    elif lead < 0xF0:
        size[0] = 3
        code = (lead & 0x0F) << 12 | (at[1] & 0x3F) << 6 | (at[2] & 0x3F)
    else:
        size[0] = 4
        code = (lead & 0x07) << 18 | (at[1] & 0x3F) << 12 | (at[2] & 0x3F) << 6 | (at[3] & 0x3F)
    return classes.flags[(<uint32_t>classes.block_of[code >> BLOCK_BITS] << BLOCK_BITS) + (code & (BLOCK_SIZE - 1))]


cdef inline Bytes run_of(const Classes *classes, Bytes at, Bytes end, uint32_t wanted) noexcept nogil:
    """Return where the run of characters with any of the flags `wanted` ends."""
    cdef uint32_t size
    while at < end and class_of(classes, at, &size) & wanted:
        at += size
    return at


cdef inline Bytes run_of_symbols(const Classes *classes, Bytes at, Bytes end) noexcept nogil:
    r"""`[^\s\p{L}\p{N}]*`"""
    cdef uint32_t size
    while at < end and not class_of(classes, at, &size) & SYMBOL_ENDS:
        at += size
    return at


cdef inline Bytes contraction(Bytes at, Bytes end, bint fold_case) noexcept nogil:
    """`'(?:[sdmt]|ll|ve|re)`, or with `fold_case` `(?i:…)`, whose `s` is also U+017F; `at` where there is none."""
    cdef uint8_t fold = 0x20 if fold_case else 0
    cdef uint8_t first, second
    if end - at < 2 or at[0] != c"'":
        return at
    first = at[1] | fold
    if first == c"s" or first == c"d" or first == c"m" or first == c"t":
        return at + 2
    if end - at < 3:
        return at
    if fold_case and at[1] == 0xC5 and at[2] == 0xBF:
        return at + 3
    second = at[2] | fold
    if (first == c"l" and second == c"l") or ((first == c"v" or first == c"r") and second == c"e"):
        return at + 3
    return at


cdef inline Bytes word_o200k(const Classes *classes, Bytes at, Bytes end) noexcept nogil:
    r"""`[^\r\n\p{L}\p{N}]?U*W+` or else `[^\r\n\p{L}\p{N}]?U+W*`; `at` where neither matches.

    U is `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]` and W `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`: they share letters without case and marks.
    """
    cdef uint32_t size, flags
    cdef uint32_t prefix_flags = class_of(classes, at, &size)
    cdef Bytes start = at if prefix_flags & (LETTER | NUMBER | NEWLINE) else at + size
    cdef Bytes cursor = start
    cdef Bytes shared_end = NULL
    while cursor < end:
        flags = class_of(classes, cursor, &size)
        if not flags & (UPPER | OTHER_LETTER | MARK):
            if flags & LOWER:
                return run_of(classes, cursor, end, LOWER | OTHER_LETTER | MARK)
            break
        cursor += size
        if flags & (OTHER_LETTER | MARK):
            shared_end = cursor
    # No lower case follows: U* gives back what comes after its last shared character, which is then W+.
    if shared_end != NULL:
        return shared_end
    if prefix_flags & MARK:  # without the prefix, the mark itself is W+
        class_of(classes, at, &size)
        return at + size
    return cursor if cursor > start else at


cdef inline Bytes white_space(const Classes *classes, Bytes at, Bytes end, int pattern) noexcept nogil:
    r"""`\s++$|\s*[\r\n]|\s+(?!\S)|\s`; r50k has no `\s*[\r\n]`, o200k no `\s++$`."""
    cdef Bytes cursor = at
    cdef Bytes newline_end = NULL
    cdef Bytes last = at
    cdef uint32_t size, flags
    while cursor < end:
        flags = class_of(classes, cursor, &size)
        if not flags & SPACE:
            break
        last = cursor
        cursor += size
        if flags & NEWLINE:
            newline_end = cursor
    if cursor == end and pattern != O200K:
        return end
    if newline_end != NULL and pattern != R50K:
        return newline_end
    return last if cursor < end and last > at else cursor


cdef inline Bytes any_piece(const Classes *classes, Bytes at, Bytes end, int pattern) noexcept nogil:
    """Return where the piece that starts at `at` ends: the whole pattern, for any text. `at < end`."""
    cdef uint8_t slash = c"/" if pattern == O200K else c"\n"
    cdef Bytes cursor
    cdef uint32_t size, next_size
    cdef uint32_t flags = class_of(classes, at, &size)
    if pattern == O200K:
        cursor = word_o200k(classes, at, end)
        if cursor > at:
            return contraction(cursor, end, True)
    else:
        cursor = contraction(at, end, pattern == CL100K)
        if cursor > at:
            return cursor
        if flags & LETTER:
            return run_of(classes, at + size, end, LETTER)
        if (at[0] == c" ") if pattern == R50K else not flags & (NUMBER | NEWLINE):
            # ` ?\p{L}++` and `[^\r\n\p{L}\p{N}]?+\p{L}++`
            if at + size < end and class_of(classes, at + size, &next_size) & LETTER:
                return run_of(classes, at + size + next_size, end, LETTER)
    cursor = at + (at[0] == c" ")
    if pattern == R50K:
        if cursor < end and class_of(classes, cursor, &next_size) & NUMBER:
            return run_of(classes, cursor + next_size, end, NUMBER)  # ` ?\p{N}++`
    elif flags & NUMBER:  # `\p{N}{1,3}`
        cursor = at + size
        if cursor < end and class_of(classes, cursor, &size) & NUMBER:
            cursor += size
            if cursor < end and class_of(classes, cursor, &size) & NUMBER:
                cursor += size
        return cursor
    if cursor < end and not class_of(classes, cursor, &next_size) & SYMBOL_ENDS:
        cursor = run_of_symbols(classes, cursor + next_size, end)
        if pattern != R50K:  # `[\r\n]*`, o200k's `[\r\n/]*`
            while cursor < end and (cursor[0] == c"\r" or cursor[0] == c"\n" or cursor[0] == slash):
                cursor += 1
        return cursor
    return white_space(classes, at, end, pattern)


cdef inline uint64_t bits_below(uint32_t index) noexcept nogil:
    """Return the mask of the bits 0 to `index - 1`; `index` is at most 63."""
    return ((<uint64_t>1) << index) - 1


cdef inline uint64_t group_from(uint64_t groups, uint64_t begins) noexcept nogil:
    """Return the bits that follow each of `begins` in its group of adjoining bits of `groups`; one begin a group.

    The carry of an addition runs through the group.
    """
    return groups & ~(groups + begins)


cdef inline uint64_t whole(uint64_t leads, uint64_t continuation) noexcept nogil:
    """Return all bytes of the characters whose first bytes are `leads`."""
    return leads | group_from(continuation, leads << 1 & continuation)


cdef inline uint32_t classify_others(
    const Classes *classes, Bytes text, uint32_t size, int pattern, Masks *masks
) noexcept nogil:
    r"""Add what is not ASCII to the masks of `size` bytes; return how many of these `piece_starts` can serve.

    The rest is for `any_piece`: a character cut in two by the end, numbers of more than three bytes (they are counted
    in characters), and in o200k marks, and capitals after letters without case (what they belong to depends on the end
    of the word). Bytes to 16 after the first 64 can be read.
    """
    cdef uint64_t continuation = continuations64(text)
    cdef uint64_t leads = masks.high & ~continuation & ~<uint64_t>0 >> (64 - size)
    cdef uint64_t kinds[8]  # the numbers of the class flags' bits; symbols are the last
    cdef uint64_t cut = 0
    cdef uint32_t place, unused
    memset(kinds, 0, sizeof(kinds))
    if size == 64 and (text[64] & 0xC0) == 0x80:
        size = highest(leads)
        leads &= bits_below(size)
    while leads:
        place = lowest(leads)
        kinds[lowest(class_of(classes, text + place, &unused) | 128)] |= leads & -leads
        leads &= leads - 1
    masks.continuation = continuation
    masks.upper |= whole(kinds[0], continuation)
    masks.lower |= whole(kinds[1], continuation)
    masks.uncased = whole(kinds[2], continuation)
    masks.digit |= whole(kinds[4], continuation)
    masks.space |= whole(kinds[5], continuation)
    if kinds[4] and pattern != R50K:
        cut = masks.digit & masks.digit << 1 & masks.digit << 2 & masks.digit << 3
    if pattern == O200K:
        cut |= kinds[3] | (masks.uncased & masks.upper >> 1)
    return min(size, lowest(cut)) if cut else size


cdef inline uint64_t contractions(
    uint64_t starts, uint64_t candidates, Bytes text, uint32_t size, int pattern
) noexcept nogil:
    """Return `starts` with the contractions at the apostrophes `candidates` taken into account."""
    cdef Bytes apostrophe
    cdef uint32_t index, length
    cdef uint32_t contraction_end = 0
    while candidates:
        index = lowest(candidates)
        candidates &= candidates - 1
        if pattern == O200K and index == contraction_end:
            continue  # only one belongs to a word
        apostrophe = text + index
        length = <uint32_t>(contraction(apostrophe, text + size, pattern != R50K) - apostrophe)
        if length > 0:
            contraction_end = index + length
            starts &= ~(bits_below(length) << index) | (<uint64_t>(pattern != O200K) << index)
            if contraction_end < 64:
                starts |= (<uint64_t>1) << contraction_end
    return starts


cdef inline uint64_t piece_starts(const Masks *masks, Bytes text, uint32_t size, int pattern) noexcept nogil:
    r"""Return where pieces start in `size` bytes, 1 to 64, as bits; one starts at the first byte.

    All patterns at once, as one rule for each kind of character:

    - A run of symbols starts a piece, with the blank before it if there is one. Line breaks right after it are its own,
      in o200k slashes after these too.
    - A run of letters starts a piece, with one character before it if that is white space without a line break, or a
      symbol that starts a piece itself; in r50k only with a blank. In o200k a capital after a small letter starts one.
    - Digits start a piece every three; in r50k a run of digits does, with the blank before it.
    - What is left of a run of white space starts a piece. So does what follows its last line break, and its last
      character unless that is a line break, for the next piece may take it in. In r50k there are no line breaks.
    - Contractions are looked at one by one.

    What comes after the `size` bytes can matter to up to `LOOK_AHEAD` bytes before, and to white space at the end, of
    which only the start is given.
    """
    cdef uint64_t valid = ~<uint64_t>0 >> (64 - size)
    cdef uint64_t letter = (masks.upper | masks.lower | masks.uncased) & valid
    cdef uint64_t digit = masks.digit & valid
    cdef uint64_t space = masks.space & valid
    cdef uint64_t newline = masks.newline & valid if pattern != R50K else 0
    cdef uint64_t symbol = valid & ~(letter | digit | space)
    cdef uint64_t after_blank = masks.blank << 1
    cdef uint64_t gap = space & ~newline
    cdef uint64_t owned = group_from(newline, newline & symbol << 1)
    cdef uint64_t symbol_start, letter_start, digit_start, space_start, last_space, starts
    cdef uint64_t extension, next_three, after_newline, broken
    cdef uint32_t place

    if pattern == O200K:
        extension = owned << 1 & masks.slash & valid
        while extension:
            owned |= group_from(newline | (masks.slash & valid), extension & -extension)
            extension = owned << 1 & masks.slash & valid & ~owned
        symbol &= ~owned

    symbol_start = symbol & ~(symbol << 1 | after_blank)
    letter_start = letter & ~(letter << 1)
    digit_start = digit & ~(digit << 1)
    if pattern == R50K:
        letter_start &= ~after_blank
        digit_start &= ~after_blank
    else:
        letter_start &= ~((gap | whole(symbol_start, masks.continuation)) << 1)
        next_three = digit & digit << 1 & digit << 2
        extension = digit_start << 3 & next_three
        while extension:
            digit_start |= extension
            extension = extension << 3 & next_three
        if pattern == O200K:
            letter_start |= masks.upper & masks.lower << 1 & valid

    space_start = (space & ~(space << 1) & ~owned) | (owned << 1 & ~owned)
    after_newline = newline << 1 & gap
    last_space = gap & ~(space >> 1)
    if last_space & masks.continuation:  # from its last byte, the third at most, to its first
        last_space = (last_space & ~masks.continuation) | (last_space & masks.continuation) >> 1
        last_space = (last_space & ~masks.continuation) | (last_space & masks.continuation) >> 1
    starts = symbol_start | letter_start | digit_start | space_start | after_newline | last_space
    broken = (gap + after_newline) & newline  # ends of gaps between two line breaks: these gaps start nothing
    while broken:
        place = highest(~gap & bits_below(lowest(broken))) + 1
        broken &= broken - 1
        starts &= ~((<uint64_t>1) << place) | space_start
    if space >> (size - 1):
        letter = valid & ~space
        place = highest(letter) + 1 if letter else 0
        starts &= bits_below(place) | space_start
    if masks.apostrophe & valid:
        letter = masks.upper | masks.lower | masks.uncased
        if pattern == O200K:
            starts = contractions(starts, masks.apostrophe & letter << 1 & letter >> 1, text, size, pattern)
        else:
            starts = contractions(starts, masks.apostrophe & symbol_start & letter >> 1, text, size, pattern)
    return (starts | 1) & valid
