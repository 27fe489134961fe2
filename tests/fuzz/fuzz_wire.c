/* Any bytes through the wire decoder: an event or a reason; an event encodes to the very
 * bytes that it came from. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "protocol/log.h"
#include "protocol/wire.h"

static void check_event(const struct event *ev, const uint8_t *head, size_t n_head,
                        const uint8_t *data, size_t n_data)
{
    char again[WIRE_HEAD_MAX], text[64];
    int n_fields;
    const struct wire_field *fields = wire_fields(ev->type, &n_fields);

    CHECK_EQ(wire_encode(ev, again), n_head);
    CHECK(memcmp(again, head, n_head) == 0);
    CHECK_EQ(ev->data_size, n_data);
    CHECK_EQ(event_data_size(ev), n_data);
    CHECK(n_data == 0 || ev->data == data);
    for (int i = 0; i < n_fields; i++)
        CHECK(wire_field_text(ev, &fields[i], text, sizeof(text)) > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct event ev;
    size_t n_head;
    uint8_t *head;

    if (size == 0)
        return 0;
    /* two frames: the first byte says how long the first of them is */
    n_head = bytes[0] < size - 1 ? bytes[0] : size - 1;
    head = malloc(n_head + 1); /* a piece of its own: nobody may read on behind it */
    CHECK(head != NULL);
    memcpy(head, bytes + 1, n_head);
    if (wire_decode(head, n_head, bytes + 1 + n_head, size - 1 - n_head, &ev) ==
        REJECT_NONE)
        check_event(&ev, head, n_head, bytes + 1 + n_head, size - 1 - n_head);
    free(head);
    /* one row */
    if (wire_decode_row(bytes + 1, size - 1, &ev) == REJECT_NONE) {
        n_head = size - 1 - ev.data_size;
        check_event(&ev, bytes + 1, n_head, bytes + 1 + n_head, ev.data_size);
    }
    return 0;
}
