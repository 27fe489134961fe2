#include "spoil.h"

#include <math.h>
#include <string.h>

static struct rig_test_message held;
static int is_held;

static void encode(struct rig_test_message *message)
{
    message->n_head = wire_encode(&message->ev, message->head);
}

static void poison(struct rig_test_message *message)
{
    memset(message->data, RIG_TEST_POISON, message->n_data);
}

static void make_floats(struct rig_test_message *message, float odd)
{
    float counts[SPOIL_UNITS] = {RIG_TEST_POISON, odd, RIG_TEST_POISON};

    message->ev.counts.dtype = DTYPE_F32;
    memcpy(message->data, counts, sizeof(counts));
    message->n_data = sizeof(counts);
    encode(message);
}

static void truncate_head(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_head--;
    poison(message);
    rig_test_send_message(bench, message);
}

static void truncate_header(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_head = WIRE_HEADER_SIZE - 1;
    poison(message);
    rig_test_send_message(bench, message);
}

static void truncate_data(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_data--;
    poison(message);
    rig_test_send_message(bench, message);
}

static void leave_data_out(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_data = 0;
    rig_test_send_message(bench, message);
}

static void lengthen_head(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_head++;
    poison(message);
    rig_test_send_message(bench, message);
}

static void lengthen_data(struct rig_test *bench, struct rig_test_message *message)
{
    message->n_data = 50000;
    poison(message);
    rig_test_send_message(bench, message);
}

static void send_many_frames(struct rig_test *bench, struct rig_test_message *message,
                             int n_frames)
{
    const void *frames[64];
    size_t sizes[64];

    poison(message);
    for (int i = 0; i < n_frames; i++) {
        frames[i] = i == 0 ? (const void *)message->head : (const void *)message->data;
        sizes[i] = i == 0 ? message->n_head : message->n_data;
    }
    rig_test_send_frames(bench, frames, sizes, n_frames);
}

static void add_a_frame(struct rig_test *bench, struct rig_test_message *message)
{
    send_many_frames(bench, message, 3);
}

static void add_many_frames(struct rig_test *bench, struct rig_test_message *message)
{
    send_many_frames(bench, message, 64);
}

static void change_magic(struct rig_test *bench, struct rig_test_message *message)
{
    message->head[0] ^= 1;
    poison(message);
    rig_test_send_message(bench, message);
}

static void change_version(struct rig_test *bench, struct rig_test_message *message)
{
    message->head[4]++;
    poison(message);
    rig_test_send_message(bench, message);
}

static void change_type(struct rig_test *bench, struct rig_test_message *message)
{
    message->head[6] = EVENT_TYPE_END + 1;
    poison(message);
    rig_test_send_message(bench, message);
}

/* A whole, right message, of a kind that a rig has no right to send. */
static void send_type(struct rig_test *bench, const struct rig_test_message *message,
                      unsigned type)
{
    static struct rig_test_message other;

    memset(&other, 0, sizeof(other));
    other.ev.type = (uint16_t)type;
    other.ev.source = message->ev.source;
    other.ev.epoch = message->ev.epoch;
    other.ev.seq = message->ev.seq;
    if (type == EVENT_COMMAND)
        other.ev.command.command = COMMAND_STOP;
    if (type == EVENT_SHOWN)
        other.ev.shown.trial = bench->present.present.trial;
    encode(&other);
    rig_test_send_message(bench, &other);
}

static void send_command(struct rig_test *bench, struct rig_test_message *message)
{
    send_type(bench, message, EVENT_COMMAND);
}

static void send_tick(struct rig_test *bench, struct rig_test_message *message)
{
    send_type(bench, message, EVENT_TICK);
}

static void send_shown(struct rig_test *bench, struct rig_test_message *message)
{
    send_type(bench, message, EVENT_SHOWN);
}

static void send_nan(struct rig_test *bench, struct rig_test_message *message)
{
    make_floats(message, nanf(""));
    rig_test_send_message(bench, message);
}

static void send_infinity(struct rig_test *bench, struct rig_test_message *message)
{
    make_floats(message, INFINITY);
    rig_test_send_message(bench, message);
}

static void send_negative(struct rig_test *bench, struct rig_test_message *message)
{
    make_floats(message, -1);
    rig_test_send_message(bench, message);
}

static void shift_units(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.counts.first_unit = 1;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void add_a_unit(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.counts.n_units = SPOIL_UNITS + 1;
    message->n_data = SPOIL_UNITS + 1;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void claim_many_units(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.counts.n_units = UINT32_MAX;
    message->ev.counts.n_bins = UINT32_MAX;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void change_dtype(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.counts.dtype = 9;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void stop_the_clock(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.counts.sample_rate_hz = 0;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void change_source(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.source = 2;
    encode(message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void lose(struct rig_test *bench, struct rig_test_message *message)
{
    (void)bench, (void)message;
}

static void repeat(struct rig_test *bench, struct rig_test_message *message)
{
    rig_test_send_message(bench, message);
    poison(message);
    rig_test_send_message(bench, message);
}

static void hold(struct rig_test *bench, struct rig_test_message *message)
{
    (void)bench;
    held = *message;
    is_held = 1;
}

static void jump(struct rig_test *bench, struct rig_test_message *message, double s)
{
    int64_t shift = llrint(s * bench->conf.sim.sample_rate_hz);

    bench->rig_sample += shift;
    message->ev.counts.first_sample += shift;
    encode(message);
    rig_test_send_message(bench, message);
}

static void jump_ahead(struct rig_test *bench, struct rig_test_message *message)
{
    jump(bench, message, 100);
}

static void jump_back(struct rig_test *bench, struct rig_test_message *message)
{
    jump(bench, message, -100);
}

static void restart(struct rig_test *bench, struct rig_test_message *message)
{
    message->ev.epoch = ++bench->rig_epoch;
    message->ev.seq = 0;
    bench->rig_seq = 1;
    encode(message);
    rig_test_send_message(bench, message);
}

const struct spoil spoil_all[] = {
    {"header cut", truncate_header, "refused.truncated", VERDICT_COUNTS_LOST},
    {"fields cut", truncate_head, "refused.truncated", VERDICT_COUNTS_LOST},
    {"counts cut", truncate_data, "refused.truncated", VERDICT_COUNTS_LOST},
    {"no counts", leave_data_out, "refused.truncated", VERDICT_COUNTS_LOST},
    {"fields too long", lengthen_head, "refused.oversized", VERDICT_COUNTS_LOST},
    {"counts too long", lengthen_data, "refused.oversized", VERDICT_COUNTS_LOST},
    {"a frame too many", add_a_frame, "refused.oversized", VERDICT_COUNTS_LOST},
    {"64 frames", add_many_frames, "refused.oversized", VERDICT_COUNTS_LOST},
    {"absurd sizes", claim_many_units, "refused.oversized", VERDICT_COUNTS_LOST},
    {"magic", change_magic, "refused.magic", VERDICT_COUNTS_LOST},
    {"version", change_version, "refused.version", VERDICT_COUNTS_LOST},
    {"unknown type", change_type, "refused.type", VERDICT_COUNTS_LOST},
    {"a rig says stop", send_command, "refused.type", VERDICT_COUNTS_LOST},
    {"a rig ticks", send_tick, "refused.type", VERDICT_COUNTS_LOST},
    {"a rig as display", send_shown, "refused.type", VERDICT_COUNTS_LOST},
    {"NaN", send_nan, "refused.value", VERDICT_BAD_COUNTS},
    {"infinite", send_infinity, "refused.value", VERDICT_BAD_COUNTS},
    {"negative", send_negative, "refused.value", VERDICT_BAD_COUNTS},
    {"units out of range", shift_units, "refused.unit", VERDICT_COUNTS_LOST},
    {"one unit more", add_a_unit, "refused.unit", VERDICT_COUNTS_LOST},
    {"dtype", change_dtype, "refused.dtype", VERDICT_COUNTS_LOST},
    {"sample rate 0", stop_the_clock, "refused.field", VERDICT_COUNTS_LOST},
    {"unknown source", change_source, "refused.field", VERDICT_COUNTS_LOST},
    {"lost", lose, "messages_lost", VERDICT_COUNTS_LOST},
    {"duplicate", repeat, "messages_duplicate", VERDICT_VALID},
    {"reordered", hold, "messages_reordered", VERDICT_VALID},
    {"clock ahead", jump_ahead, "clock_jumps", VERDICT_CLOCK_JUMP},
    {"clock back", jump_back, "clock_jumps", VERDICT_CLOCK_JUMP},
    {"rig restarted", restart, "source_restarts", VERDICT_CLOCK_JUMP},
};

const int spoil_n = (int)(sizeof(spoil_all) / sizeof(spoil_all[0]));

void spoil_pass_on(struct rig_test *bench, const struct rig_test_message *message)
{
    rig_test_send_message(bench, message);
    if (is_held)
        rig_test_send_message(bench, &held);
    is_held = 0;
}
