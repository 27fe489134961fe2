#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/presence.h"
#include "events.h"

#define MS(t) ((t)*EVENTS_MS)

static int lost;

/* A display that asks how to set up its screen: it has none yet. */
static enum presence_news hello(struct presence *presence, uint32_t epoch, int64_t at)
{
    struct event ev = events_display(epoch, QUALITY_NONE, MS(at));
    ev.display.width_px = ev.display.height_px = 0;
    return presence_hear(presence, &ev, QUALITY_ESTIMATED, &lost);
}

static enum presence_news set_up(struct presence *presence, uint32_t epoch,
                                 enum quality quality, int64_t at)
{
    struct event ev = events_display(epoch, quality, MS(at));
    return presence_hear(presence, &ev, QUALITY_ESTIMATED, &lost);
}

static enum presence_news beat(struct presence *presence, uint32_t epoch, int64_t at)
{
    struct event ev = events_plain(EVENT_BEAT, MS(at));
    ev.epoch = epoch;
    return presence_hear(presence, &ev, QUALITY_ESTIMATED, &lost);
}

static void it_asks_is_set_up_and_beats(void **state)
{
    (void)state;
    struct presence presence = {0};
    assert_int_equal(hello(&presence, 5, 0), PRESENCE_ASKS);
    assert_int_equal(lost, 0);
    assert_int_equal(presence.known, 1);
    assert_int_equal(presence.ready, 0);
    assert_int_equal(set_up(&presence, 5, QUALITY_ESTIMATED, 10), PRESENCE_READY);
    assert_int_equal(presence.ready, 1);
    assert_int_equal(beat(&presence, 5, 60), PRESENCE_SAME);
    assert_int_equal(set_up(&presence, 5, QUALITY_HARDWARE, 70), PRESENCE_SAME);
    assert_int_equal(presence.ready, 1);
    assert_int_equal(lost, 0);
}

static void it_must_be_good_enough(void **state)
{
    (void)state;
    struct presence presence = {0};
    hello(&presence, 5, 0);
    assert_int_equal(set_up(&presence, 5, QUALITY_NONE, 10), PRESENCE_SAME);
    assert_int_equal(presence.known, 1);
    assert_int_equal(presence.ready, 0);
    assert_int_equal(set_up(&presence, 5, QUALITY_ESTIMATED, 20), PRESENCE_READY);
    assert_int_equal(set_up(&presence, 5, QUALITY_NONE, 30), PRESENCE_SAME);
    assert_int_equal(presence.ready, 0); /* it became worse */
    assert_int_equal(set_up(&presence, 5, QUALITY_HARDWARE, 40), PRESENCE_READY);
}

static void silence_loses_it_once(void **state)
{
    (void)state;
    struct presence presence = {0};
    assert_int_equal(presence_is_lost(&presence, MS(100000), MS(500)), 0); /* never was */
    set_up(&presence, 5, QUALITY_ESTIMATED, 0);
    beat(&presence, 5, 100);
    assert_int_equal(presence_is_lost(&presence, MS(600), MS(500)), 0);
    assert_int_equal(presence_is_lost(&presence, MS(600) + 1, MS(500)), 1);
    assert_int_equal(presence.known, 0);
    assert_int_equal(presence.ready, 0);
    assert_int_equal(presence_is_lost(&presence, MS(700), MS(500)), 0);
    /* it comes back: it is asked anew what it is, and knows no stimulus */
    assert_int_equal(beat(&presence, 5, 800), PRESENCE_ASKS);
    assert_int_equal(lost, 0);
    assert_int_equal(presence.known, 0);
    assert_int_equal(set_up(&presence, 5, QUALITY_ESTIMATED, 810), PRESENCE_READY);
}

static void a_beat_of_one_that_was_there_before_us_asks(void **state)
{
    (void)state;
    struct presence presence = {0};
    assert_int_equal(beat(&presence, 9, 0), PRESENCE_ASKS);
    assert_int_equal(lost, 0);
    assert_int_equal(presence.ready, 0);
    assert_int_equal(beat(&presence, 9, 50), PRESENCE_ASKS); /* until it answers */
    assert_int_equal(set_up(&presence, 9, QUALITY_ESTIMATED, 60), PRESENCE_READY);
}

static void a_restart_is_a_loss_whatever_it_says_first(void **state)
{
    (void)state;
    for (int first = 0; first < 3; first++) {
        struct presence presence = {0};
        enum presence_news news;
        set_up(&presence, 5, QUALITY_ESTIMATED, 0);
        assert_int_equal(lost, 0);
        news = first == 0   ? hello(&presence, 4, 10)
               : first == 1 ? beat(&presence, 4, 10)
                            : set_up(&presence, 4, QUALITY_ESTIMATED, 10);
        assert_int_equal(lost, 1);
        assert_int_equal(news, first == 2 ? PRESENCE_READY : PRESENCE_ASKS);
        assert_int_equal(presence.ready, first == 2);
        if (first < 2)
            assert_int_equal(set_up(&presence, 4, QUALITY_ESTIMATED, 20), PRESENCE_READY);
        else
            assert_int_equal(beat(&presence, 4, 20), PRESENCE_SAME);
        assert_int_equal(lost, 0);
    }
}

static void one_that_asks_again_is_no_longer_ready(void **state)
{
    (void)state;
    struct presence presence = {0};
    set_up(&presence, 5, QUALITY_ESTIMATED, 0);
    assert_int_equal(hello(&presence, 5, 10), PRESENCE_ASKS);
    assert_int_equal(presence.ready, 0);
    assert_int_equal(set_up(&presence, 5, QUALITY_ESTIMATED, 20), PRESENCE_READY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_asks_is_set_up_and_beats),
        cmocka_unit_test(it_must_be_good_enough),
        cmocka_unit_test(silence_loses_it_once),
        cmocka_unit_test(a_beat_of_one_that_was_there_before_us_asks),
        cmocka_unit_test(a_restart_is_a_loss_whatever_it_says_first),
        cmocka_unit_test(one_that_asks_again_is_no_longer_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
