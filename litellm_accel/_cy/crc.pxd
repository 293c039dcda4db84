"""CRC-32 as `zlib.crc32()` gives it, of short texts, four bytes at a time."""

from libc.stdint cimport uint8_t, uint32_t

cdef extern from * nogil:
    """
    #include <stddef.h>
    #include <stdint.h>

    static uint32_t litellm_accel_crc_tables[4][256];

    static void litellm_accel_crc_prepare(void) {
        for (uint32_t byte = 0; byte < 256; byte++) {
            uint32_t value = byte;
            for (int bit = 0; bit < 8; bit++) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
            litellm_accel_crc_tables[0][byte] = value;
        }
        for (int table = 1; table < 4; table++)
            for (int byte = 0; byte < 256; byte++) {
                uint32_t value = litellm_accel_crc_tables[table - 1][byte];
                litellm_accel_crc_tables[table][byte] = value >> 8 ^ litellm_accel_crc_tables[0][value & 255];
            }
    }

    static inline uint32_t litellm_accel_crc32(const uint8_t *bytes, ptrdiff_t length) {
        uint32_t value = 0xFFFFFFFFu;
        for (; length >= 4; bytes += 4, length -= 4) {
            value ^= (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
            value = litellm_accel_crc_tables[3][value & 255] ^ litellm_accel_crc_tables[2][value >> 8 & 255]
                ^ litellm_accel_crc_tables[1][value >> 16 & 255] ^ litellm_accel_crc_tables[0][value >> 24];
        }
        for (; length > 0; bytes++, length--)
            value = value >> 8 ^ litellm_accel_crc_tables[0][(value ^ *bytes) & 255];
        return ~value;
    }
    """
    void prepare "litellm_accel_crc_prepare"()
    uint32_t crc32 "litellm_accel_crc32"(const uint8_t *data, Py_ssize_t length)
