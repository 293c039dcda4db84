"""Byte-pair encoding of one piece in linear time, over a vocabulary as a trie.

The tokens of a piece are the only sequence of tokens whose neighbours are all *compatible*: two tokens are, if
byte-pair encoding of their joint bytes gives exactly these two. So the piece is read left to right, taking the longest
token that is compatible with the one before, and stepping back where none is. A position that was stepped back from is
never tried again, which bounds the work. This holds where every token is itself what its bytes are merged into, which
loading a vocabulary makes sure of. The algorithm is that of GitHub's `bpe` crate
(https://github.com/github/rust-gems/tree/main/crates/bpe).

Where no merge of the whole vocabulary joins a byte to the one before, a *joint*, no token reaches across: what lies on
both sides is encoded independently.

Token ids are merge ranks. The trie is a double array (Aoe, "An Efficient Digital Search Algorithm by Using a
Double-Array Structure", 1989): a node's children lie at its base plus their byte. It is filled in the order of ranks,
so that what text needs most lies close together.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:
    NONE = 0xFFFFFFFF  # no node, no token
    ID_BITS = 21
    MEMO_BITS = 13
    MAX_RUNS = 64

cdef enum:
    # A node of the trie: 22 bits the base of its parent, 21 bits its own base or 0, 21 bits its token + 1 or 0.
    BASE_SHIFT = 21
    CHECK_SHIFT = 42
    FIELD = (1 << 21) - 1

cdef struct Vocabulary:
    uint32_t size  # all tokens are below
    uint64_t roots[256]  # the nodes of single bytes
    uint64_t *nodes
    uint8_t joints[1 << 16]  # for each two bytes, the second in the high bits: 1 where no merge joins them, else 0
    uint64_t *pairs  # open addressing: left token + 1, right token, merged token
    uint32_t pair_bits
    uint64_t *pair_filter  # 8 bits for each place in `pairs`: most questions end here, without a wait for main memory
    uint32_t *left  # token -> the two tokens it is merged from; of one byte: itself
    uint32_t *right
    uint32_t *shorter  # token -> the longest token that is a proper prefix of it, or NONE
    uint32_t *starts  # token -> where its bytes start in `text`; one more at the end
    uint8_t *text

ctypedef const uint8_t *Bytes


cdef inline uint32_t slot_of(uint64_t key, uint32_t bits) noexcept nogil:
    """Fibonacci hashing: the upper bits of the product are well mixed."""
    return <uint32_t>((key * <uint64_t>0x9E3779B97F4A7C15) >> (64 - bits))


cdef inline uint64_t pair_key(uint32_t left, uint32_t right) noexcept nogil:
    """Return a number for two tokens that is never 0."""
    return <uint64_t>(left + 1) << ID_BITS | right


cdef inline uint64_t child_of(const Vocabulary *vocabulary, uint64_t node, uint8_t byte) noexcept nogil:
    """Return the node one byte on, or 0."""
    cdef uint64_t base = node >> BASE_SHIFT & FIELD
    cdef uint64_t child = vocabulary.nodes[base + byte]
    return child if child >> CHECK_SHIFT == base else 0


cdef inline uint32_t merge_of(const Vocabulary *vocabulary, uint32_t left, uint32_t right) noexcept nogil:
    """Return the token that two tokens merge into, or NONE."""
    cdef uint64_t key = pair_key(left, right)
    cdef uint32_t mask = (<uint32_t>1 << vocabulary.pair_bits) - 1
    cdef uint32_t slot = slot_of(key, vocabulary.pair_bits + 3)
    cdef uint64_t pair
    if not vocabulary.pair_filter[slot >> 6] >> (slot & 63) & 1:
        return NONE
    slot >>= 3
    pair = vocabulary.pairs[slot]
    while pair >> ID_BITS != key:
        if pair == 0:
            return NONE
        slot = (slot + 1) & mask
        pair = vocabulary.pairs[slot]
    return <uint32_t>pair & ((1 << ID_BITS) - 1)


cdef inline uint64_t joints_of(const Vocabulary *vocabulary, Bytes at, uint32_t size) noexcept nogil:
    """Return which of `size` bytes, 1 to 64, come after a joint, as bits; the first is none of them."""
    cdef uint64_t joints = 0
    cdef uint32_t index
    for index in range(size - 1, 0, -1):
        joints = joints << 1 | vocabulary.joints[at[index - 1] | <uint32_t>at[index] << 8]
    return joints << 1


cdef inline uint32_t length_of(const Vocabulary *vocabulary, uint32_t token) noexcept nogil:
    return vocabulary.starts[token + 1] - vocabulary.starts[token]


cdef inline bint compatible(const Vocabulary *vocabulary, uint32_t left, uint32_t right) noexcept nogil:
    """Whether encoding the joint bytes of two tokens gives these two tokens.

    The merges are undone one by one along the seam, the latest first. If two neighbours there could have been merged
    before one of them was made, byte-pair encoding would have done it. Of equal merges the left one comes first.
    """
    cdef uint32_t limit = NONE
    cdef uint32_t merged
    while True:
        merged = merge_of(vocabulary, left, right)
        if merged < limit:
            return False
        if left > right:
            limit = left
            left = vocabulary.right[left]
            if left != limit:
                continue
            limit = right + 1
            right = vocabulary.left[right]
            if right + 1 == limit:
                return True
        else:
            limit = right + 1
            right = vocabulary.left[right]
            if right + 1 != limit:
                continue
            limit = left
            left = vocabulary.right[left]
            if left == limit:
                return True


cdef inline uint32_t longest_token(
    const Vocabulary *vocabulary, Bytes at, Bytes end, size_t *length
) noexcept nogil:
    """Return the longest token that the bytes from `at` to `end` start with, and its length. There are some."""
    cdef uint64_t node = vocabulary.roots[at[0]]
    cdef uint64_t best = node
    cdef Bytes cursor = at + 1
    cdef Bytes stop = cursor
    while cursor < end:
        node = child_of(vocabulary, node, cursor[0])
        if node == 0:
            break
        cursor += 1
        if node & FIELD:
            best = node
            stop = cursor
    length[0] = stop - at
    return <uint32_t>(best & FIELD) - 1


cdef inline size_t encode_piece(
    const Vocabulary *vocabulary, uint64_t *memo, uint64_t *dead, Bytes piece, size_t size, uint32_t *tokens
) noexcept nogil:
    """Write the tokens of a piece that is not empty to `tokens`, with room for `size`; return how many they are.

    `dead` holds `size + 1` bits, all 0 before and after. `memo` remembers which tokens are compatible.
    """
    cdef bint stepped_back = False
    cdef Bytes end = piece + size
    cdef size_t length = 0
    cdef uint32_t token = longest_token(vocabulary, piece, end, &length)
    cdef uint32_t last = NONE
    cdef size_t count = 0
    cdef size_t position = 0
    cdef size_t stop
    cdef uint64_t key, known
    cdef uint32_t slot
    while True:
        stop = position + length
        if not dead[stop >> 6] >> (stop & 63) & 1:
            if last == NONE or vocabulary.joints[piece[position - 1] | <uint32_t>piece[position] << 8]:
                known = 1
            else:
                key = pair_key(last, token)
                slot = slot_of(key, MEMO_BITS)
                known = memo[slot]
                if known >> 1 != key:
                    known = key << 1 | compatible(vocabulary, last, token)
                    memo[slot] = known
            if known & 1:
                tokens[count] = token
                count += 1
                position = stop
                if position == size:
                    break
                last = token
                token = longest_token(vocabulary, piece + position, end, &length)
                continue
        token = vocabulary.shorter[token]
        while token == NONE:
            # No token fits here: the one before must be shorter.
            dead[position >> 6] |= <uint64_t>1 << (position & 63)
            stepped_back = True
            count -= 1
            position -= length_of(vocabulary, last)
            token = vocabulary.shorter[last]
            last = tokens[count - 1] if count else NONE
        length = length_of(vocabulary, token)
    if stepped_back:
        for position in range((size >> 6) + 1):
            dead[position] = 0
    return count


cdef inline size_t encode_run(
    const Vocabulary *vocabulary, uint8_t byte, size_t size, uint32_t *tokens
) noexcept nogil:
    """Write the tokens of one byte `size` times to `tokens`; return how many they are, or 0 where this cannot tell.

    Byte-pair encoding in its own order, lowest rank first, but on runs of equal tokens: what a run's pairs merge into
    has a lower rank than all that follows from it, so they are merged at once. Of one byte, reading left to right would
    step back again and again.
    """
    cdef uint32_t values[MAX_RUNS]
    cdef size_t counts[MAX_RUNS]
    cdef uint32_t count = 1
    cdef uint32_t index, place, merged, best
    cdef bint inside
    cdef size_t total = 0
    values[0] = <uint32_t>(vocabulary.roots[byte] & FIELD) - 1
    counts[0] = size
    while True:
        best = NONE
        place = 0
        inside = False
        for index in range(count):
            if counts[index] > 1:
                merged = merge_of(vocabulary, values[index], values[index])
                if merged < best:
                    best, place, inside = merged, index, True
            if index + 1 < count:
                merged = merge_of(vocabulary, values[index], values[index + 1])
                if merged < best:
                    best, place, inside = merged, index, False
        if best == NONE:
            break
        if count == MAX_RUNS:
            return 0
        # Make room for the run of merged tokens: before what is left of its own run, or between the two it is made of.
        place += not inside
        for index in range(count, place, -1):
            values[index] = values[index - 1]
            counts[index] = counts[index - 1]
        values[place] = best
        if inside:
            counts[place] = counts[place + 1] >> 1
            counts[place + 1] &= 1
        else:
            counts[place] = 1
            counts[place - 1] -= 1
            counts[place + 1] -= 1
        place = 0
        for index in range(count + 1):
            if counts[index]:
                values[place] = values[index]
                counts[place] = counts[index]
                place += 1
        count = place
    for index in range(count):
        while counts[index]:
            tokens[total] = values[index]
            total += 1
            counts[index] -= 1
    return total
