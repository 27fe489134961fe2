/*
 * wire.h: an event as bytes and back. The same bytes are a ZeroMQ message and a row on
 * disk; PROTOCOL.md describes them for people without this code.
 *
 * Flow:      struct event -> wire_encode() -> frames or row -> wire_decode() -> event.
 * Memory:    no allocation; decode borrows the payload from its input.
 * Units:     little-endian, no padding; order of fields as in wire_fields().
 * Errors:    decode is total: any byte string gives an event or an enum reject.
 * Invariant: decode(encode(ev)) equals ev, for every type (test wire/round_trip).
 */
#ifndef EVOKE_WIRE_H
#define EVOKE_WIRE_H

#include "event.h"

#define WIRE_MAGIC       0x4b4f5645u /* "EVOK" */
#define WIRE_VERSION     1
#define WIRE_HEADER_SIZE 32  /* bytes before the fields of the type */
#define WIRE_HEAD_MAX    128 /* header and fields of any type */
#define WIRE_DATA_MAX    (16u << 20)

enum wire_kind { WIRE_U32, WIRE_U64, WIRE_I64, WIRE_F64 };

/* One field of a type, in wire order. */
struct wire_field {
    const char *name;
    enum wire_kind kind;
    size_t offset; /* in struct event */
};

/* [any] The fields of a type and how many; NULL and 0 for none. */
const struct wire_field *wire_fields(unsigned type, int *n_fields);

/* [any] A field as text ("first_sample" -> "1200"), for logs and comparisons. */
int wire_field_text(const struct event *ev, const struct wire_field *field, char *text,
                    size_t size);

/* [rt] Header and fields into head (WIRE_HEAD_MAX bytes); returns their size. The
 * payload follows as it is (ev->data, ev->data_size). */
size_t wire_encode(const struct event *ev, void *head);

/* [rt] Bytes of head back into an event that borrows data. time_ns is set by the
 * caller where the sender is remote. Values are checked (REJECT_VALUE), and so is the
 * payload's size against the fields. */
enum reject wire_decode(const void *head, size_t head_size, const void *data,
                        size_t data_size, struct event *ev);

/* [rt] The same for header and payload in one piece, as on disk. */
enum reject wire_decode_row(const void *row, size_t size, struct event *ev);

/* [rt] Content identity: FNV-1a, 64 bit, over size bytes; start with WIRE_HASH_START or
 * with the hash of what came before. */
#define WIRE_HASH_START 0xcbf29ce484222325u
uint64_t wire_hash(uint64_t hash, const void *bytes, size_t size);

/* [rt] Identity of a stimulus: wire_hash over height, width, dtype (u32 each) and the
 * payload. */
uint64_t wire_hash_stimulus(uint32_t height, uint32_t width, uint32_t dtype,
                            const void *data);

#endif
