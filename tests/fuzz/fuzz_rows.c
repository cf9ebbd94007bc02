/* Any bytes as a row of the file master's state. What a decoder takes, its encoder writes so that
 * the decoder takes it again. */
#include "common/arena.h"
#include "fsmaster/keys.h"

#define ROW(type, name, decode, encode)                                                            \
    {                                                                                              \
        type name;                                                                                 \
        if ((decode) == 0) {                                                                       \
            encode;                                                                                \
            value = (struct span){b.data, b.length};                                               \
            if ((decode) < 0) {                                                                    \
                __builtin_trap();                                                                  \
            }                                                                                      \
            value = (struct span){data, size};                                                     \
        }                                                                                          \
    }

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = ARENA_INIT;
    struct buf b = BUF_INIT;
    struct span value = {data, size};
    uint64_t id = 0;
    uint64_t other = 0;
    struct span name;
    ROW(struct log_position, row, applied_decode(value, &row), applied_encode(&row, &b))
    ROW(struct meta_row, row, meta_decode(value, &row), meta_encode(&row, &b))
    ROW(struct dirent_row, row, dirent_decode(value, &row), dirent_encode(&row, &b))
    ROW(struct inode_row, row, inode_decode(value, &row), inode_encode(&row, &b))
    ROW(struct extent_row, row, extent_decode(value, &row), extent_encode(&row, &b))
    ROW(struct chunk_record, row, chunk_decode(1, value, &row), chunk_encode(&row, &b))
    ROW(struct lease_row, row, lease_decode(1, value, &row), lease_encode(&row, &b))
    ROW(struct fence_row, row, fence_decode(value, &row), fence_encode(&row, &b))
    ROW(struct session_row, row, session_decode(value, &row), session_encode(&row, &b))
    ROW(struct reply_row, row, reply_decode(value, &row), reply_encode(&row, &b))
    ROW(struct server_record, row, server_decode(1, value, &arena, &row), server_encode(&row, &b))
    ROW(uint64_t, row, number_decode(value, &row), number_encode(row, &b))
    ROW(struct span, row, xattr_decode(value, &row), xattr_encode(row, &b))
    (void)!row_key_read_u64(value, ROW_INODE, &id);
    (void)!row_key_read_u64_pair(value, ROW_EXTENT, &id, &other);
    (void)!row_key_read_dirent(value, &id, &name);
    (void)!row_key_read_xattr(value, &id, &name);
    buf_deinit(&b);
    arena_deinit(&arena);
    return 0;
}
