"""Sixty-four bytes at a time: which of them belong to the ASCII classes that split patterns tell apart.

SSE2, which every x86-64 has; elsewhere the same in 64-bit words.
"""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef extern from * nogil:
    """
    #include <stdint.h>
    #include <string.h>

    /* Bit i of each mask tells about byte i. */
    typedef struct {
        uint64_t upper, lower, uncased, digit, space, newline, blank, apostrophe, slash, high, continuation;
    } litellm_accel_masks;

    /* Eight bytes, the first in the low bits. */
    static inline uint64_t litellm_accel_load64(const uint8_t *bytes) {
    #if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
        uint64_t word = 0;
        for (int i = 7; i >= 0; i--) word = word << 8 | bytes[i];
    #else
        uint64_t word;
        memcpy(&word, bytes, 8);
    #endif
        return word;
    }

    #if defined(__SSE2__) || defined(_M_X64)
    #include <emmintrin.h>
    #define LITELLM_ACCEL_STEP 16
    typedef __m128i litellm_accel_block;

    static inline litellm_accel_block litellm_accel_load(const uint8_t *bytes) {
        return _mm_loadu_si128((const __m128i *)bytes);
    }

    /* Adding moves the range to the lowest signed values. */
    static inline uint64_t litellm_accel_range(litellm_accel_block block, int first, int count) {
        __m128i moved = _mm_add_epi8(block, _mm_set1_epi8((char)(-128 - first)));
        return (uint32_t)_mm_movemask_epi8(_mm_cmplt_epi8(moved, _mm_set1_epi8((char)(-128 + count))));
    }

    static inline uint64_t litellm_accel_equal(litellm_accel_block block, int byte) {
        return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8((char)byte)));
    }

    static inline uint64_t litellm_accel_high(litellm_accel_block block) {
        return (uint32_t)_mm_movemask_epi8(block);
    }

    static inline uint64_t litellm_accel_continuation(litellm_accel_block block) {
        return litellm_accel_range(block, 0x80, 0x40);
    }
    #else
    #define LITELLM_ACCEL_STEP 8
    typedef uint64_t litellm_accel_block;

    static inline litellm_accel_block litellm_accel_load(const uint8_t *bytes) { return litellm_accel_load64(bytes); }

    static inline uint64_t litellm_accel_repeat(int byte) { return (uint64_t)byte * 0x0101010101010101u; }

    /* The top bit of each byte, gathered into the low eight bits. */
    static inline uint64_t litellm_accel_high(litellm_accel_block block) {
        return ((block & 0x8080808080808080u) >> 7) * 0x0102040810204080u >> 56;
    }

    static inline uint64_t litellm_accel_range(litellm_accel_block block, int first, int count) {
        uint64_t ascii = block & litellm_accel_repeat(0x7f);
        uint64_t from_first = ascii + litellm_accel_repeat(0x80 - first);
        uint64_t beyond = ascii + litellm_accel_repeat(0x80 - first - count);
        return litellm_accel_high(from_first & ~beyond & ~block);
    }

    static inline uint64_t litellm_accel_equal(litellm_accel_block block, int byte) {
        return litellm_accel_range(block, byte, 1);
    }

    static inline uint64_t litellm_accel_continuation(litellm_accel_block block) {
        return litellm_accel_high(block & ~(block << 1));
    }
    #endif

    static inline void litellm_accel_classify64(const uint8_t *bytes, litellm_accel_masks *masks) {
        memset(masks, 0, sizeof(*masks));
        for (int at = 0; at < 64; at += LITELLM_ACCEL_STEP) {
            litellm_accel_block block = litellm_accel_load(bytes + at);
            uint64_t blank = litellm_accel_equal(block, ' ');
            masks->upper |= litellm_accel_range(block, 'A', 26) << at;
            masks->lower |= litellm_accel_range(block, 'a', 26) << at;
            masks->digit |= litellm_accel_range(block, '0', 10) << at;
            masks->space |= (litellm_accel_range(block, 9, 5) | blank) << at;
            masks->newline |= (litellm_accel_equal(block, 10) | litellm_accel_equal(block, 13)) << at;
            masks->blank |= blank << at;
            masks->apostrophe |= litellm_accel_equal(block, 39) << at;
            masks->slash |= litellm_accel_equal(block, '/') << at;
            masks->high |= litellm_accel_high(block) << at;
        }
    }

    static inline uint64_t litellm_accel_continuations64(const uint8_t *bytes) {
        uint64_t mask = 0;
        for (int at = 0; at < 64; at += LITELLM_ACCEL_STEP)
            mask |= litellm_accel_continuation(litellm_accel_load(bytes + at)) << at;
        return mask;
    }

    #if defined(_MSC_VER)
    #include <intrin.h>
    static inline uint32_t litellm_accel_lowest(uint64_t bits) {
        unsigned long index;
        _BitScanForward64(&index, bits);
        return index;
    }
    static inline uint32_t litellm_accel_highest(uint64_t bits) {
        unsigned long index;
        _BitScanReverse64(&index, bits);
        return index;
    }
    #else
    static inline uint32_t litellm_accel_lowest(uint64_t bits) { return (uint32_t)__builtin_ctzll(bits); }
    static inline uint32_t litellm_accel_highest(uint64_t bits) { return 63u - (uint32_t)__builtin_clzll(bits); }
    #endif
    """

    ctypedef struct Masks "litellm_accel_masks":
        uint64_t upper
        uint64_t lower
        uint64_t uncased  # letters neither upper nor lower; never ASCII
        uint64_t digit
        uint64_t space
        uint64_t newline  # \r and \n
        uint64_t blank  # ' ' alone
        uint64_t apostrophe
        uint64_t slash
        uint64_t high  # not ASCII
        uint64_t continuation  # the bytes of a character after its first; left 0 by classify64

    uint64_t load64 "litellm_accel_load64"(const uint8_t *bytes)
    void classify64 "litellm_accel_classify64"(const uint8_t *bytes, Masks *masks)
    uint64_t continuations64 "litellm_accel_continuations64"(const uint8_t *bytes)
    uint32_t lowest "litellm_accel_lowest"(uint64_t bits)  # the number of the lowest bit that is set; of 0 undefined
    uint32_t highest "litellm_accel_highest"(uint64_t bits)
