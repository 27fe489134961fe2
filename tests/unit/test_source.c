#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/source.h"
#include "events.h"
#include "models/random.h"
#include "protocol/memory.h"

#define N_UNITS 6
#define BIN     10 /* samples, and ms at 1000 Hz */

static const struct sources_conf standard = {.n_units = N_UNITS,
                                             .n_sources = 3,
                                             .n_rows = 400,
                                             .history_ns = 2000 * EVENTS_MS,
                                             .silence_ns = 500 * EVENTS_MS,
                                             .diode_line = 2};

struct world {
    struct sources *sources;
    uint64_t counters[COUNTER_END];
    struct sender sender[3]; /* units 0-1, 2-4, 5: together all */
    float response[N_UNITS];
    int64_t uncertainty_ns;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    const uint32_t first[] = {0, 2, 5}, n[] = {2, 3, 1};

    world->sources = sources_init(memory_open(sources_size(&standard)), &standard);
    for (int i = 0; i < 3; i++)
        world->sender[i] = (struct sender){.source = (uint16_t)(i + 1),
                                           .epoch = 7,
                                           .rate_hz = 1000,
                                           .origin_ns = 5000 * EVENTS_MS,
                                           .first_unit = first[i],
                                           .n_units = n[i],
                                           .bin_samples = BIN};
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->sources);
    free(world);
    return 0;
}

/* Bin k of a sender: unit u (of the session) has (k + u) % 7 counts. */
static unsigned count_of(int64_t k, unsigned u)
{
    return (unsigned)((uint64_t)k + u) % 7;
}

/* Bins [k, k + n) as the sender's message with this sequence number. */
static int send_as(struct world *world, int i, uint64_t seq, int64_t k, int n)
{
    struct sender *sender = &world->sender[i];
    uint8_t counts[64 * N_UNITS];
    struct event ev;

    for (int b = 0; b < n; b++)
        for (unsigned u = 0; u < sender->n_units; u++)
            counts[(unsigned)b * sender->n_units + u] =
                (uint8_t)count_of(k + b, sender->first_unit + u);
    sender->seq = seq;
    ev = events_counts(sender, k * sender->bin_samples, (uint32_t)n, counts);
    return source_take(world->sources, &ev, world->counters);
}

static int send_bins(struct world *world, int i, int64_t k, int n)
{
    return send_as(world, i, world->sender[i].seq, k, n);
}

/* Bins [k, k + n) by the host's clock. */
static enum window window(struct world *world, int64_t k, int64_t n)
{
    struct window_at at = {.onset_ns = events_host_ns(&world->sender[0], (k - 1) * BIN),
                           .sample = CLOCK_UNKNOWN,
                           .from = -1,
                           .delay_ns = BIN * EVENTS_MS,
                           .length_ns = n * BIN * EVENTS_MS};
    return sources_window(world->sources, &at, world->response, &world->uncertainty_ns);
}

/* The response is that of bins [k, k + n), with NaN for units of sources not in mask. */
static void assert_response(const struct world *world, int64_t k, int64_t n,
                            unsigned mask)
{
    for (int i = 0; i < 3; i++) {
        const struct sender *sender = &world->sender[i];
        for (unsigned u = sender->first_unit; u < sender->first_unit + sender->n_units;
             u++) {
            unsigned sum = 0;
            for (int64_t b = k; b < k + n; b++)
                sum += count_of(b, u);
            if (mask >> i & 1)
                assert_true(world->response[u] == (float)sum);
            else
                assert_true(isnan(world->response[u]));
        }
    }
}

static void assert_counters(const struct world *world, uint64_t gaps, uint64_t duplicates,
                            uint64_t reordered, uint64_t restarts)
{
    assert_int_equal(world->counters[COUNTER_GAPS], gaps);
    assert_int_equal(world->counters[COUNTER_DUPLICATES], duplicates);
    assert_int_equal(world->counters[COUNTER_REORDERED], reordered);
    assert_int_equal(world->counters[COUNTER_RESTARTS], restarts);
}

static void lost_messages_are_counted_exactly(void **state)
{
    struct world *world = *state;
    const uint64_t seq[] = {0, 1, 4, 5, 7, 107};
    for (int i = 0; i < 6; i++)
        assert_int_equal(send_as(world, 0, seq[i], i, 1), 1);
    assert_counters(world, 2 + 1 + 99, 0, 0, 0);
    assert_int_equal(world->counters[COUNTER_COUNTS], 6);
    assert_int_equal(world->counters[COUNTER_BINS], 6);
}

static void any_first_number_is_a_late_join_not_a_loss(void **state)
{
    struct world *world = *state;
    assert_int_equal(send_as(world, 0, 123456789, 0, 1), 1);
    assert_int_equal(send_as(world, 0, 123456790, 1, 1), 1);
    assert_counters(world, 0, 0, 0, 0);
    assert_int_equal(send_as(world, 0, 123456788, 2, 1), 0); /* never missed */
    assert_counters(world, 0, 1, 0, 0);
}

static void a_message_received_twice_is_dropped(void **state)
{
    struct world *world = *state;
    for (int i = 0; i < 4; i++)
        send_bins(world, 0, i, 1);
    for (uint64_t seq = 0; seq < 4; seq++)
        assert_int_equal(send_as(world, 0, seq, 4 + (int)seq, 1), 0);
    assert_counters(world, 0, 4, 0, 0);
    assert_int_equal(world->counters[COUNTER_COUNTS], 4);
    assert_int_equal(window(world, 0, 4), WINDOW_COMPLETE);
    assert_response(world, 0, 4, 1);
    assert_int_equal(window(world, 0, 5), WINDOW_WAIT); /* bin 4 was not taken */
}

static void a_late_message_is_taken_and_its_loss_taken_back(void **state)
{
    struct world *world = *state;
    const uint64_t seq[] = {0, 1, 4, 3};
    for (int i = 0; i < 4; i++)
        assert_int_equal(send_as(world, 0, seq[i], (int64_t)seq[i], 1), 1);
    assert_counters(world, 1, 0, 1, 0);
    assert_int_equal(window(world, 0, 4), WINDOW_HOLE);
    assert_int_equal(send_as(world, 0, 2, 2, 1), 1);
    assert_counters(world, 0, 0, 2, 0);
    assert_int_equal(window(world, 0, 4), WINDOW_COMPLETE);
    assert_response(world, 0, 4, 1);
    assert_int_equal(send_as(world, 0, 2, 2, 1), 0);
    assert_counters(world, 0, 1, 2, 0);
}

static void one_more_than_63_numbers_late_is_not_taken(void **state)
{
    struct world *world = *state;
    send_as(world, 0, 0, 0, 1);
    send_as(world, 0, 100, 100, 1);
    assert_counters(world, 99, 0, 0, 0);
    assert_int_equal(send_as(world, 0, 100 - 63, 37, 1), 1);
    assert_int_equal(send_as(world, 0, 100 - 64, 36, 1), 0);
    assert_counters(world, 98, 1, 1, 0);
}

static void another_epoch_is_a_restart_and_forgets_the_rows(void **state)
{
    struct world *world = *state;
    send_bins(world, 0, 0, 4);
    world->sources->jumped = 0;
    world->sender[0].epoch = 3; /* smaller: only another one matters */
    assert_int_equal(send_as(world, 0, 50, 4, 4), 1);
    assert_counters(world, 0, 0, 0, 1);
    assert_int_equal(window(world, 4, 4), WINDOW_COMPLETE);
    assert_response(world, 4, 4, 1);
    assert_int_equal(window(world, 2, 4), WINDOW_UNKNOWN);
    assert_int_equal(send_as(world, 0, 52, 8, 1), 1);
    assert_counters(world, 1, 0, 0, 1);
    /* a trial that is on must not take a window of the old clock from the new one */
    assert_int_equal(world->sources->jumped, 1);
}

static void a_sender_outside_of_the_session_is_refused(void **state)
{
    struct world *world = *state;
    const uint16_t ids[] = {0, 4, 15, 65535};
    for (int i = 0; i < 4; i++) {
        world->sender[0].source = ids[i];
        assert_int_equal(send_bins(world, 0, 0, 1), 0);
    }
    assert_int_equal(world->counters[COUNTER_REJECT + REJECT_FIELD], 4);
    assert_int_equal(sources_live(world->sources), 0);
}

static void several_sources_make_one_response(void **state)
{
    struct world *world = *state;
    world->sender[1].rate_hz = 30000; /* each its own clock */
    world->sender[1].bin_samples = 300;
    for (int k = 0; k < 20; k++)
        for (int i = 0; i < 2; i++)
            send_bins(world, i, k, 1);
    assert_int_equal(window(world, 3, 10), WINDOW_COMPLETE);
    assert_response(world, 3, 10, 3);
    send_bins(world, 2, 0, 12);
    assert_int_equal(window(world, 3, 10), WINDOW_WAIT); /* for the third */
    send_bins(world, 2, 12, 2);
    assert_int_equal(window(world, 3, 10), WINDOW_COMPLETE);
    assert_response(world, 3, 10, 7);
    assert_int_equal(sources_live(world->sources), 3);
}

static void a_hole_in_one_source_is_a_hole(void **state)
{
    struct world *world = *state;
    send_bins(world, 0, 0, 20);
    send_bins(world, 1, 0, 5);
    send_bins(world, 1, 6, 14);
    assert_int_equal(window(world, 3, 10), WINDOW_HOLE);
    assert_int_equal(window(world, 6, 10), WINDOW_COMPLETE);
    assert_response(world, 6, 10, 3);
}

static void units_of_another_source_or_of_none_are_refused(void **state)
{
    struct world *world = *state;
    const uint32_t first[] = {1, 0, 4, 6, UINT32_MAX - 1, 0};
    const uint32_t n[] = {2, 1, 3, 1, 2, 7}; /* overlaps, overlaps, then beyond */
    send_bins(world, 0, 0, 10);
    for (int i = 0; i < 6; i++) {
        uint8_t counts[7] = {9, 9, 9, 9, 9, 9, 9};
        world->sender[1].first_unit = first[i];
        world->sender[1].n_units = n[i];
        struct event ev = events_counts(&world->sender[1], 0, 1, counts);
        assert_int_equal(source_take(world->sources, &ev, world->counters), 0);
    }
    assert_int_equal(world->counters[COUNTER_REJECT + REJECT_UNIT], 6);
    assert_int_equal(world->counters[COUNTER_COUNTS], 1);
    assert_int_equal(sources_live(world->sources), 1);
    world->sender[1].first_unit = 2; /* right beside is fine */
    world->sender[1].n_units = 3;
    assert_int_equal(send_bins(world, 1, 0, 10), 1);
    assert_int_equal(window(world, 2, 4), WINDOW_COMPLETE);
    assert_response(world, 2, 4, 3);
}

/* A message that is refused must not make the source whose number it bears begin anew. */
static void a_stranger_under_a_source_s_number_changes_nothing(void **state)
{
    struct world *world = *state;
    uint8_t counts[9] = {0};
    send_bins(world, 0, 0, 10);
    struct sender stranger = world->sender[0];
    stranger.epoch++;
    stranger.n_units = 9;
    struct event ev = events_counts(&stranger, 0, 1, counts);
    assert_int_equal(source_take(world->sources, &ev, world->counters), 0);
    assert_int_equal(world->counters[COUNTER_REJECT + REJECT_UNIT], 1);
    assert_int_equal(world->counters[COUNTER_RESTARTS], 0);
    assert_int_equal(send_bins(world, 0, 10, 10), 1);
    assert_int_equal(world->counters[COUNTER_RESTARTS], 0);
    assert_int_equal(world->counters[COUNTER_GAPS], 0);
}

static void a_source_that_joins_late_covers_later_windows_only(void **state)
{
    struct world *world = *state;
    send_bins(world, 0, 0, 30);
    send_bins(world, 1, 10, 20);
    assert_int_equal(window(world, 5, 5), WINDOW_COMPLETE);
    assert_response(world, 5, 5, 1);
    assert_int_equal(window(world, 5, 10), WINDOW_COMPLETE); /* half is not covered */
    assert_response(world, 5, 10, 1);
    assert_int_equal(window(world, 10, 10), WINDOW_COMPLETE);
    assert_response(world, 10, 10, 3);
}

static void a_source_may_fall_silent_and_return(void **state)
{
    struct world *world = *state;
    int64_t heard_ns;
    send_bins(world, 0, 0, 50);
    send_bins(world, 1, 0, 10);
    heard_ns = events_host_ns(&world->sender[1], 10 * BIN);
    assert_int_equal(window(world, 5, 10), WINDOW_WAIT);
    assert_int_equal(sources_tick(world->sources, heard_ns + standard.silence_ns), 0);
    assert_int_equal(sources_tick(world->sources, heard_ns + standard.silence_ns + 1), 1);
    assert_int_equal(sources_tick(world->sources, heard_ns + standard.silence_ns + 2), 0);
    assert_int_equal(sources_live(world->sources), 1);
    assert_int_equal(window(world, 5, 10), WINDOW_COMPLETE);
    assert_response(world, 5, 10, 1);
    send_bins(world, 0, 50, 20);
    send_bins(world, 1, 60, 10);
    assert_int_equal(sources_live(world->sources), 2);
    assert_int_equal(window(world, 55, 10), WINDOW_COMPLETE); /* no hole: not there */
    assert_response(world, 55, 10, 1);
    assert_int_equal(window(world, 60, 10), WINDOW_COMPLETE);
    assert_response(world, 60, 10, 3);
}

static void without_any_source_a_window_is_unknown(void **state)
{
    struct world *world = *state;
    assert_int_equal(window(world, 0, 1), WINDOW_UNKNOWN);
    send_bins(world, 0, 0, 50);
    sources_tick(world->sources, INT64_C(1) << 50);
    assert_int_equal(window(world, 5, 5), WINDOW_UNKNOWN);
    for (int u = 0; u < N_UNITS; u++)
        assert_true(isnan(world->response[u]));
}

static void a_jump_of_a_clock_is_flagged_and_the_clock_learned_anew(void **state)
{
    struct world *world = *state;
    struct sender *sender = &world->sender[0];
    const int64_t jumps[] = {2000, -50000};
    int64_t k = 0;
    for (int i = 0; i < 2; i++) {
        send_bins(world, 0, k, 50);
        k += 50;
        assert_int_equal(world->sources->jumped, i);
        assert_int_equal(world->counters[COUNTER_JUMPS], i);
        /* the samples jump, the host's clock does not */
        k += jumps[i];
        sender->origin_ns -= jumps[i] * BIN * EVENTS_MS;
        send_bins(world, 0, k, 50);
        k += 50;
        assert_int_equal(world->sources->jumped, 1);
        assert_int_equal(world->counters[COUNTER_JUMPS], i + 1);
        assert_int_equal(window(world, k - 30, 20), WINDOW_COMPLETE);
        assert_response(world, k - 30, 20, 1);
    }
}

static void a_pause_within_the_history_is_no_jump(void **state)
{
    struct world *world = *state;
    send_bins(world, 0, 0, 50);
    send_bins(world, 0, 250, 50); /* 2 s later, to the sample */
    assert_int_equal(world->counters[COUNTER_JUMPS], 0);
    send_bins(world, 0, 501, 50); /* and a bin more */
    assert_int_equal(world->counters[COUNTER_JUMPS], 1);
}

static void the_nearest_edge_within_tolerance_is_found(void **state)
{
    struct world *world = *state;
    const int64_t at[] = {100, 200, 215, 400};
    int64_t sample = -1, host;
    int from = -1;
    struct event ev;
    send_bins(world, 1, 0, 50);
    for (int i = 0; i < 4; i++) {
        ev = events_edge(&world->sender[1], at[i], 2);
        assert_int_equal(source_take(world->sources, &ev, world->counters), 1);
    }
    ev = events_edge(&world->sender[1], 305, 1); /* another line */
    source_take(world->sources, &ev, world->counters);
    ev = events_edge(&world->sender[1], 306, 2); /* falling */
    ev.edge.level = 0;
    source_take(world->sources, &ev, world->counters);
    assert_int_equal(world->counters[COUNTER_EDGES], 6);

    host = events_host_ns(&world->sender[1], 209);
    assert_int_equal(sources_edge(world->sources, host, 20 * EVENTS_MS, &sample, &from),
                     events_host_ns(&world->sender[1], 215));
    assert_int_equal(sample, 215);
    assert_int_equal(from, 1);
    host = events_host_ns(&world->sender[1], 300);
    sample = from = -7;
    assert_true(sources_edge(world->sources, host, 84 * EVENTS_MS, &sample, &from) ==
                CLOCK_UNKNOWN);
    assert_int_equal(sample, -7);
    assert_int_equal(from, -7);
    assert_true(sources_edge(world->sources, host, 85 * EVENTS_MS, &sample, &from) !=
                CLOCK_UNKNOWN);
    assert_int_equal(sample, 215);
}

static void the_newest_edges_are_kept(void **state)
{
    struct world *world = *state;
    int64_t sample, host;
    int from;
    send_bins(world, 0, 0, 10);
    for (int i = 0; i < SOURCE_EDGES + 1; i++) {
        struct event ev = events_edge(&world->sender[0], 100 * i, 2);
        source_take(world->sources, &ev, world->counters);
    }
    for (int i = 0; i < SOURCE_EDGES + 1; i++) {
        host = events_host_ns(&world->sender[0], 100 * i);
        assert_int_equal(sources_edge(world->sources, host, 1, &sample, &from) ==
                             CLOCK_UNKNOWN,
                         i == 0);
    }
}

static void an_edge_opens_the_window_exactly_a_flip_by_the_clocks(void **state)
{
    struct world *world = *state;
    const int64_t latency = 3; /* ms = samples: what the map by arrivals is wrong by */
    struct window_at at = {.delay_ns = 20 * EVENTS_MS, .length_ns = 10 * EVENTS_MS};
    for (int i = 0; i < 2; i++) {
        world->sender[i].bin_samples = 1;
        world->sender[i].latency_ns = latency * EVENTS_MS;
        for (int k = 0; k < 4; k++)
            send_bins(world, i, k * 50, 50);
    }
    at.onset_ns = events_host_ns(&world->sender[0], 100);
    at.sample = 100;
    at.from = 0;
    assert_int_equal(
        sources_window(world->sources, &at, world->response, &world->uncertainty_ns),
        WINDOW_COMPLETE);
    for (unsigned u = 0; u < 5; u++) {
        unsigned sum = 0;
        for (int64_t k = 120; k < 130; k++)
            sum += count_of(u < 2 ? k : k - latency, u);
        assert_true(world->response[u] == (float)sum);
    }
    /* the second source is known by its clock only */
    assert_int_equal(world->uncertainty_ns,
                     clockmap_uncertainty_ns(&world->sources->source[1].map));
    assert_true(world->uncertainty_ns >= (int64_t)CLOCKMAP_LATENCY_NS);
    sources_tick(world->sources, INT64_C(1) << 50);
    world->sender[0].epoch++;
    send_bins(world, 0, 100, 50);
    assert_int_equal(
        sources_window(world->sources, &at, world->response, &world->uncertainty_ns),
        WINDOW_COMPLETE);
    assert_int_equal(world->uncertainty_ns, 0); /* the edge alone */
}

static void a_window_shorter_than_a_sample_is_never_complete(void **state)
{
    struct world *world = *state;
    world->sender[0].rate_hz = 1;
    world->sender[0].bin_samples = 1;
    send_bins(world, 0, 0, 2);
    assert_int_not_equal(window(world, 50, 2), WINDOW_COMPLETE);
}

/* Sequence numbers against the set of all that came. */
static void random_sequences_are_counted_as_by_a_list(void **state)
{
    struct world *world = *state;
    struct random random;
    random_init(&random, events_seed(), 0);
    for (int run = 0; run < 200; run++) {
        static uint8_t came[300 * 80];
        uint64_t first = 100 + random_below(&random, 1000), newest = first, n_came = 0;
        uint64_t duplicates = 0, reordered = 0;
        memset(came, 0, sizeof(came));
        memset(world->counters, 0, sizeof(world->counters));
        world->sender[0].epoch++;
        for (int i = 0; i < 300; i++) {
            uint64_t seq = i == 0 ? first
                           : random_below(&random, 2)
                               ? newest + 1 + random_below(&random, i % 8 ? 5 : 80)
                               : newest - random_below(&random, 60);
            int fresh = (int64_t)seq >= (int64_t)first && !came[seq - first];
            assert_int_equal(send_as(world, 0, seq, i, 1), fresh);
            if (fresh) {
                came[seq - first] = 1;
                n_came++;
                reordered += seq < newest;
                newest = seq > newest ? seq : newest;
            } else {
                duplicates++;
            }
        }
        assert_counters(world, newest - first + 1 - n_came, duplicates, reordered,
                        run > 0);
    }
}

/* Windows over three sources against a table of the bins that came. */
static void random_streams_give_the_windows_of_a_table(void **state)
{
    struct world *world = *state;
    struct random random;
    int n_found[WINDOW_UNKNOWN + 1] = {0};
    random_init(&random, events_seed(), 1);
    for (int run = 0; run < 100; run++) {
        uint8_t came[3][120] = {{0}};
        int begin[3], end[3];
        for (int i = 0; i < 3; i++) {
            world->sender[i].epoch++;
            begin[i] = (int)random_below(&random, 20);
            end[i] = begin[i] + 1 + (int)random_below(&random, 90);
            for (int k = begin[i]; k < end[i]; k++)
                came[i][k] =
                    k == begin[i] || k == end[i] - 1 || random_below(&random, 50);
            for (int k = begin[i]; k < end[i]; k++)
                if (came[i][k])
                    send_bins(world, i, k, 1);
        }
        for (int w = 0; w < 50; w++) {
            int k = (int)random_below(&random, 100),
                n = 1 + (int)random_below(&random, 15);
            enum window expected = WINDOW_UNKNOWN;
            unsigned mask = 0;
            for (int i = 0; i < 3; i++) {
                int n_missing = 0;
                for (int b = k; b < k + n; b++)
                    n_missing += !came[i][b];
                if (end[i] < k + n) {
                    expected = WINDOW_WAIT;
                    break;
                }
                if (k < begin[i])
                    continue;
                if (n_missing > 0) {
                    expected = WINDOW_HOLE;
                    break;
                }
                expected = WINDOW_COMPLETE;
                mask |= 1u << i;
            }
            assert_int_equal(window(world, k, n), expected);
            if (expected == WINDOW_COMPLETE)
                assert_response(world, k, n, mask);
            n_found[expected]++;
        }
    }
    for (int i = 0; i <= WINDOW_UNKNOWN; i++)
        assert_true(n_found[i] > 20);
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(lost_messages_are_counted_exactly),
        T(any_first_number_is_a_late_join_not_a_loss),
        T(a_message_received_twice_is_dropped),
        T(a_late_message_is_taken_and_its_loss_taken_back),
        T(one_more_than_63_numbers_late_is_not_taken),
        T(another_epoch_is_a_restart_and_forgets_the_rows),
        T(a_sender_outside_of_the_session_is_refused),
        T(several_sources_make_one_response),
        T(a_hole_in_one_source_is_a_hole),
        T(units_of_another_source_or_of_none_are_refused),
        T(a_stranger_under_a_source_s_number_changes_nothing),
        T(a_source_that_joins_late_covers_later_windows_only),
        T(a_source_may_fall_silent_and_return),
        T(without_any_source_a_window_is_unknown),
        T(a_jump_of_a_clock_is_flagged_and_the_clock_learned_anew),
        T(a_pause_within_the_history_is_no_jump),
        T(the_nearest_edge_within_tolerance_is_found),
        T(the_newest_edges_are_kept),
        T(an_edge_opens_the_window_exactly_a_flip_by_the_clocks),
        T(a_window_shorter_than_a_sample_is_never_complete),
        T(random_sequences_are_counted_as_by_a_list),
        T(random_streams_give_the_windows_of_a_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
