#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/wire.h"
#include "stimulus/present.h"

/* Virtual time: refresh k is at START + k * PERIOD, and nobody waits for it. */
#define PERIOD_NS  INT64_C(10000000)
#define START_NS   INT64_C(1000000000000)
#define SILENCE_NS INT64_C(500000000)
#define REFRESH(k) (START_NS + (int64_t)(k)*PERIOD_NS)

static uint64_t random_state;

static int setup(void **state)
{
    (void)state;
    const char *text = getenv("EVOKE_SEED");
    random_state = text ? strtoull(text, NULL, 0) : 7701;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)random_state);
    return 0;
}

static uint32_t draw(uint32_t n)
{
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((random_state >> 33) % n);
}

/* A display without a screen: what it showed and what it said. */
struct rig {
    struct present present;
    uint64_t k; /* refresh of the last flip */
    int slot;   /* drawn in it */
    struct event out[PRESENT_MAX_OUT];
    int n_out;
};

static void rig_init(struct rig *rig)
{
    *rig = (struct rig){.slot = PRESENT_GREY};
    present_init(&rig->present, (double)PERIOD_NS, SILENCE_NS, START_NS);
}

/* One frame that misses so many refreshes; the daemon is heard. */
static void rig_frame(struct rig *rig, uint32_t n_missed)
{
    int64_t now_ns = REFRESH(rig->k) + PERIOD_NS / 2;
    rig->slot = present_next(&rig->present, now_ns, REFRESH(rig->k + 1));
    rig->k += 1 + n_missed;
    const struct flip flip = {.requested_ns = REFRESH(rig->k - n_missed),
                              .returned_ns = REFRESH(rig->k) + 1000,
                              .onset_ns = REFRESH(rig->k),
                              .uncertainty_ns = 1000,
                              .sequence = rig->k,
                              .n_missed = n_missed,
                              .quality = QUALITY_ESTIMATED};
    rig->n_out = present_flipped(&rig->present, &flip, rig->out);
}

static void rig_live(struct rig *rig, uint32_t n_missed)
{
    present_heard(&rig->present, REFRESH(rig->k));
    rig_frame(rig, n_missed);
}

/* Frames until something is said; 0 if nothing was within so many. */
static int rig_until_said(struct rig *rig, int n_frames)
{
    for (int i = 0; i < n_frames; i++) {
        rig_live(rig, 0);
        if (rig->n_out)
            return 1;
    }
    return 0;
}

static struct event stimulus(const uint8_t *pixel)
{
    struct event ev = {.type = EVENT_STIMULUS, .data = pixel, .data_size = 1};
    ev.stimulus.height = ev.stimulus.width = 1;
    ev.stimulus.dtype = DTYPE_U8;
    ev.stimulus.hash = wire_hash_stimulus(1, 1, DTYPE_U8, pixel);
    return ev;
}

static uint64_t store(struct rig *rig, uint8_t pixel)
{
    struct event ev = stimulus(&pixel);
    int slot = present_store(&rig->present, &ev);
    assert_true(slot >= 0 || slot == -EEXIST);
    return ev.stimulus.hash;
}

static int request(struct rig *rig, uint64_t trial, uint64_t hash, int64_t not_before_ns,
                   int64_t duration_ns)
{
    struct event ev = {.type = EVENT_PRESENT};
    ev.present.trial = trial;
    ev.present.hash = hash;
    ev.present.not_before_ns = not_before_ns;
    ev.present.duration_ns = duration_ns;
    return present_request(&rig->present, &ev);
}

static void assert_shown(const struct event *ev, uint64_t trial, uint64_t hash,
                         int64_t onset_ns, uint32_t n_late)
{
    assert_int_equal(ev->type, EVENT_SHOWN);
    assert_int_equal(ev->shown.trial, trial);
    assert_int_equal(ev->shown.hash, hash);
    assert_int_equal(ev->shown.onset_ns, onset_ns);
    assert_int_equal(ev->shown.n_late, n_late);
    assert_int_equal(ev->shown.requested_ns, onset_ns - (int64_t)n_late * PERIOD_NS);
    assert_int_equal(ev->shown.quality, QUALITY_ESTIMATED);
    assert_int_equal(ev->shown.uncertainty_ns, 1000);
}

static void assert_hidden(const struct event *ev, uint64_t trial, int64_t offset_ns,
                          uint32_t n_frames, uint32_t n_late)
{
    assert_int_equal(ev->type, EVENT_HIDDEN);
    assert_int_equal(ev->hidden.trial, trial);
    assert_int_equal(ev->hidden.offset_ns, offset_ns);
    assert_int_equal(ev->hidden.n_frames, n_frames);
    assert_int_equal(ev->hidden.n_late, n_late);
}

static void test_first_flip_at_or_after(void **state)
{
    (void)state;
    /* not_before, and the refresh it leads to; the request comes before refresh 1 */
    const struct {
        int64_t not_before_ns;
        int k;
    } cases[] = {
        {INT64_MIN, 1},      {0, 1},          {REFRESH(1), 1},      {REFRESH(1) + 1, 2},
        {REFRESH(2) - 1, 2}, {REFRESH(2), 2}, {REFRESH(30) + 5, 31}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_init(&rig);
        uint64_t hash = store(&rig, 1);
        assert_int_equal(request(&rig, 5, hash, cases[i].not_before_ns, PERIOD_NS), 0);
        assert_true(rig_until_said(&rig, 40));
        assert_int_equal(rig.n_out, 1);
        assert_shown(&rig.out[0], 5, hash, REFRESH(cases[i].k), 0);
        assert_true(rig_until_said(&rig, 1));
        assert_hidden(&rig.out[0], 5, REFRESH(cases[i].k + 1), 1, 0);
        assert_false(rig_until_said(&rig, 10));
    }
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(request(&rig, 5, store(&rig, 1), INT64_MAX, PERIOD_NS), 0);
    assert_false(rig_until_said(&rig, 1000));
}

static void test_duration_in_frames(void **state)
{
    (void)state;
    const struct {
        int64_t duration_ns;
        uint32_t n_frames;
    } cases[] = {{1, 1},
                 {PERIOD_NS, 1},
                 {PERIOD_NS * 149 / 100, 1},
                 {PERIOD_NS * 151 / 100, 2},
                 {7 * PERIOD_NS + 3, 7}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig rig;
        rig_init(&rig);
        int slot_seen = 0;
        request(&rig, 1, store(&rig, 9), 0, cases[i].duration_ns);
        for (int k = 0; k < 20; k++) {
            rig_live(&rig, 0);
            slot_seen += rig.slot != PRESENT_GREY;
            if (rig.n_out && rig.out[0].type == EVENT_HIDDEN)
                assert_int_equal(rig.out[0].hidden.n_frames, cases[i].n_frames);
        }
        assert_int_equal(slot_seen, cases[i].n_frames);
    }
    struct rig rig;
    rig_init(&rig);
    assert_int_equal(request(&rig, 1, store(&rig, 9), 0, 0), -EINVAL);
    assert_int_equal(request(&rig, 1, store(&rig, 9), 0, -1), -EINVAL);
    assert_int_equal(request(&rig, 1, store(&rig, 9), 0, INT64_MAX), 0);
    assert_true(rig_until_said(&rig, 1));
    assert_false(rig_until_said(&rig, 1000));
}

static void test_late_frames_are_told(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t hash = store(&rig, 1);
    request(&rig, 1, hash, 0, 6 * PERIOD_NS);
    rig_live(&rig, 3); /* the onset itself is three refreshes late */
    assert_shown(&rig.out[0], 1, hash, REFRESH(4), 3);
    rig_live(&rig, 0);
    rig_live(&rig, 2); /* two more are missed while it is on: */
    rig_live(&rig, 0);
    assert_int_equal(rig.n_out, 0);
    rig_live(&rig, 0); /* it still goes after six refreshes, not six calls */
    assert_hidden(&rig.out[0], 1, REFRESH(10), 6, 2);

    request(&rig, 2, hash, 0, 2 * PERIOD_NS);
    rig_live(&rig, 0);
    rig_live(&rig, 0);
    rig_live(&rig, 1); /* the flip that removes it comes late: it was on for longer */
    assert_hidden(&rig.out[0], 2, REFRESH(14), 3, 1);
}

static void test_unknown_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint8_t pixel = 7;
    struct event ev = stimulus(&pixel);
    assert_int_equal(request(&rig, 1, ev.stimulus.hash, 0, PERIOD_NS), -ENOENT);
    assert_int_equal(request(&rig, 1, 0, 0, PERIOD_NS), -ENOENT);
    uint8_t other = 8;
    ev.data = &other;
    assert_int_equal(present_store(&rig.present, &ev), -EBADMSG);
    assert_int_equal(request(&rig, 1, ev.stimulus.hash, 0, PERIOD_NS), -ENOENT);
    ev.data = &pixel;
    int slot = present_store(&rig.present, &ev);
    assert_true(slot >= 0);
    present_forget(&rig.present, slot); /* its upload failed */
    assert_int_equal(request(&rig, 1, ev.stimulus.hash, 0, PERIOD_NS), -ENOENT);
    assert_false(rig_until_said(&rig, 20));
}

static void test_grey_when_the_daemon_is_silent(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t hash = store(&rig, 1);
    request(&rig, 1, hash, 0, 1000 * PERIOD_NS);
    request(&rig, 2, hash, 0, PERIOD_NS);
    rig_live(&rig, 0);
    int64_t heard_ns = REFRESH(rig.k - 1);
    while (rig.k < 200) {
        rig_frame(&rig, 0);
        int64_t drawn_ns = REFRESH(rig.k - 1) + PERIOD_NS / 2;
        assert_int_equal(rig.slot == PRESENT_GREY, drawn_ns - heard_ns > SILENCE_NS);
        if (rig.n_out)
            assert_hidden(&rig.out[0], 1, REFRESH(rig.k), (uint32_t)rig.k - 1, 0);
    }
    assert_true(present_is_silent(&rig.present, REFRESH(rig.k)));
    assert_false(rig_until_said(&rig, 20)); /* trial 2 was dropped */
    assert_false(present_is_silent(&rig.present, REFRESH(rig.k)));
    assert_int_equal(request(&rig, 3, hash, 0, PERIOD_NS), 0);
    assert_true(rig_until_said(&rig, 1));
    assert_int_equal(rig.out[0].shown.trial, 3);
}

static void test_blank_at_once(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t hash = store(&rig, 1);
    request(&rig, 1, hash, 0, 100 * PERIOD_NS);
    request(&rig, 2, hash, 0, 100 * PERIOD_NS);
    rig_live(&rig, 0);
    rig_live(&rig, 0);
    present_blank(&rig.present);
    rig_live(&rig, 0);
    assert_int_equal(rig.slot, PRESENT_GREY);
    assert_int_equal(rig.n_out, 1);
    assert_hidden(&rig.out[0], 1, REFRESH(3), 2, 0);
    assert_false(rig_until_said(&rig, 200));

    present_blank(&rig.present); /* grey already: nothing lingers for the next one */
    request(&rig, 3, hash, 0, 2 * PERIOD_NS);
    assert_true(rig_until_said(&rig, 1));
    assert_int_equal(rig.out[0].type, EVENT_SHOWN);
    assert_false(rig_until_said(&rig, 1));
    assert_true(rig_until_said(&rig, 1));
    assert_int_equal(rig.out[0].hidden.n_frames, 2);
}

static void test_back_to_back(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t first = store(&rig, 1), second = store(&rig, 2);
    request(&rig, 1, first, 0, 3 * PERIOD_NS);
    request(&rig, 2, second, REFRESH(4) - PERIOD_NS / 2, 2 * PERIOD_NS);
    assert_true(rig_until_said(&rig, 1));
    assert_true(rig_until_said(&rig, 3));
    assert_int_equal(rig.n_out, 2);
    assert_hidden(&rig.out[0], 1, REFRESH(4), 3, 0);
    assert_shown(&rig.out[1], 2, second, REFRESH(4), 0);
    assert_true(rig_until_said(&rig, 2));
    assert_hidden(&rig.out[0], 2, REFRESH(6), 2, 0);

    /* One that should have come while another was on waits, and says by how much. */
    request(&rig, 3, first, 0, 5 * PERIOD_NS);
    request(&rig, 4, second, 0, PERIOD_NS);
    assert_true(rig_until_said(&rig, 1));
    assert_true(rig_until_said(&rig, 5));
    assert_int_equal(rig.n_out, 2);
    assert_shown(&rig.out[1], 4, second, REFRESH(12), 5);
}

static void test_store_is_bounded(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t on = store(&rig, 0), waiting = store(&rig, 1);
    request(&rig, 1, on, 0, 1000 * PERIOD_NS);
    request(&rig, 2, waiting, 0, PERIOD_NS);
    rig_live(&rig, 0);
    int slot_on = rig.slot;
    for (int i = 2; i < 200; i++) {
        store(&rig, (uint8_t)i);
        rig_live(&rig, 0);
        assert_int_equal(rig.slot, slot_on);
    }
    /* What is needed is still there, and so are the latest others; not the one before. */
    assert_int_equal(request(&rig, 3, on, 0, 1), 0);
    assert_int_equal(request(&rig, 4, waiting, 0, 1), 0);
    const uint8_t kept = 200 - (PRESENT_N_SLOTS - 2), gone = kept - 1;
    assert_int_equal(request(&rig, 5, wire_hash_stimulus(1, 1, DTYPE_U8, &kept), 0, 1),
                     0);
    assert_int_equal(request(&rig, 6, wire_hash_stimulus(1, 1, DTYPE_U8, &gone), 0, 1),
                     -ENOENT);
    int n_queued = 5;
    while (request(&rig, 7, on, 0, 1) == 0)
        n_queued++;
    assert_int_equal(request(&rig, 7, on, 0, 1), -ENOSPC);
    assert_int_equal(n_queued, PRESENT_N_QUEUE);
}

static void test_sent_again_counts_as_new(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig);
    uint64_t first = store(&rig, 0);
    for (int i = 1; i < PRESENT_N_SLOTS; i++)
        store(&rig, (uint8_t)i);
    uint8_t pixel = 0;
    struct event ev = stimulus(&pixel);
    assert_int_equal(present_store(&rig.present, &ev), -EEXIST);
    store(&rig, 100);
    assert_int_equal(request(&rig, 1, first, 0, 1), 0);
}

/* Anything in any order: what is said is what was shown, in pairs. */
static void test_random_orders(void **state)
{
    (void)state;
    for (int round = 0; round < 300; round++) {
        struct rig rig;
        rig_init(&rig);
        uint64_t content[PRESENT_N_SLOTS] = {0}, trial_on = 0, trial = 0, hash_on = 0;
        int64_t not_before_ns[4000] = {0};
        uint64_t n_frames[4000] = {0}, first = 0;
        int is_on = 0, is_cut = 0;
        for (int step = 0; step < 2000; step++) {
            uint8_t pixel = (uint8_t)draw(40);
            struct event ev = stimulus(&pixel);
            uint32_t what = draw(100);
            if (what < 20) {
                int slot = present_store(&rig.present, &ev);
                if (slot >= 0) {
                    assert_true(!is_on || content[slot] != hash_on);
                    content[slot] = ev.stimulus.hash;
                }
            } else if (what < 40) {
                int64_t then_ns = REFRESH(rig.k) + draw(20) * PERIOD_NS / 3;
                int64_t duration_ns = 1 + draw(60) * PERIOD_NS / 7;
                not_before_ns[trial + 1] = then_ns;
                n_frames[trial + 1] =
                    (uint64_t)((duration_ns + PERIOD_NS / 2) / PERIOD_NS);
                if (request(&rig, trial + 1, ev.stimulus.hash, then_ns, duration_ns) == 0)
                    trial++;
            } else if (what < 41) {
                present_blank(&rig.present);
                is_cut = is_on;
            }
            rig_live(&rig, draw(10) ? 0 : draw(4));
            for (int i = 0; i < rig.n_out; i++) {
                const struct event *out = &rig.out[i];
                if (out->type == EVENT_HIDDEN) {
                    assert_true(is_on && i == 0);
                    assert_int_equal(out->hidden.trial, trial_on);
                    assert_int_equal(out->hidden.n_frames, rig.k - first);
                    assert_true(is_cut || out->hidden.n_frames >= n_frames[trial_on]);
                    is_on = is_cut = 0;
                } else {
                    assert_int_equal(out->type, EVENT_SHOWN);
                    assert_true(!is_on && out->shown.trial > trial_on);
                    trial_on = out->shown.trial;
                    hash_on = out->shown.hash;
                    first = rig.k;
                    assert_true(out->shown.onset_ns >= not_before_ns[trial_on]);
                    is_on = 1;
                }
            }
            assert_int_equal(rig.slot != PRESENT_GREY, is_on);
            if (is_on)
                assert_true(content[rig.slot] == hash_on);
        }
        assert_true(trial > 50);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_flip_at_or_after),
        cmocka_unit_test(test_duration_in_frames),
        cmocka_unit_test(test_late_frames_are_told),
        cmocka_unit_test(test_unknown_is_refused),
        cmocka_unit_test(test_grey_when_the_daemon_is_silent),
        cmocka_unit_test(test_blank_at_once),
        cmocka_unit_test(test_back_to_back),
        cmocka_unit_test(test_store_is_bounded),
        cmocka_unit_test(test_sent_again_counts_as_new),
        cmocka_unit_test(test_random_orders),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
