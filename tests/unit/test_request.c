#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/request.h"
#include "events.h"
#include "models/random.h"

#define START_NS (5000 * EVENTS_MS)

struct world {
    struct conf conf;
    struct request request;
    struct event command;
    char note[CONF_TEXT];
    char *reply;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    char why[256];
    assert_int_equal(conf_read_text(&world->conf,
                                    "[ingest]\nunits = 3\n[learn]\ntrials = 70\n[mei]\n"
                                    "trials = 7\n",
                                    "test", why, sizeof(why)),
                     0);
    request_init(&world->request, &world->conf, "sessions/a.evoke", START_NS);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    free(world->reply);
    free(world);
    return 0;
}

/* Bytes of a request, in memory that ends with them. */
static void ask_bytes(struct world *world, const void *bytes, size_t n)
{
    char *exact = malloc(n > 0 ? n : 1);
    if (n > 0)
        memcpy(exact, bytes, n);
    free(world->reply);
    world->reply = request_answer(&world->request, exact, n, START_NS + 1500 * EVENTS_MS,
                                  &world->command, world->note);
    free(exact);
    assert_non_null(world->reply);
    assert_int_equal(world->reply[0], '{');
}

static void ask(struct world *world, const char *text)
{
    ask_bytes(world, text, strlen(text));
}

static void assert_says(const struct world *world, const char *what)
{
    if (!strstr(world->reply, what))
        fail_msg("%s does not say %s", world->reply, what);
}

static void assert_refused(const struct world *world, const char *why)
{
    assert_says(world, "\"ok\":false");
    assert_says(world, why);
    assert_int_equal(world->command.type, EVENT_NONE);
}

static void status_has_every_counter_by_its_name(void **state)
{
    struct world *world = *state;
    uint64_t counters[COUNTER_END];
    struct event ev = events_plain(EVENT_STATUS, 0);
    char text[128];
    for (unsigned i = 0; i < COUNTER_END; i++)
        counters[i] = 1000 + 7 * i;
    ev.status.n_counters = COUNTER_END;
    ev.status.state = STATE_COLLECT;
    ev.data = counters;
    ev.data_size = sizeof(counters);
    request_tell(&world->request, &ev);
    ask(world, "{\"do\": \"status\"}");
    assert_says(world, "\"ok\":true");
    assert_says(world, "\"state\":\"collect\"");
    assert_int_equal(world->command.type, EVENT_NONE);
    for (unsigned i = 0; i < COUNTER_END; i++) {
        if (i == COUNTER_VERDICT + VERDICT_VALID || i == COUNTER_REJECT + REJECT_NONE)
            continue; /* said elsewhere, and no reason */
        snprintf(text, sizeof(text), "\"%s\":%llu", counter_name(i),
                 (unsigned long long)counters[i]);
        assert_says(world, text);
    }
}

static void status_tells_what_the_loop_said_last(void **state)
{
    struct world *world = *state;
    const char why[] = "waiting for the display";
    const float counts[6] = {4, 1, NAN, 2.5f, 3, 5};
    struct event ev;
    ask(world, "{\"do\": \"status\"}");
    assert_says(world, "\"state\":\"idle\"");
    assert_says(world, "\"session\":\"sessions/a.evoke\"");
    assert_says(world, "\"seconds\":1.5");
    assert_says(world, "\"trials_planned\":77");
    assert_null(strstr(world->reply, "\"trial\":"));
    assert_null(strstr(world->reply, "\"display\":"));

    ev = events_plain(EVENT_STATE, 0);
    ev.state.state = STATE_ARMED;
    ev.data = why;
    ev.data_size = ev.state.n_text = sizeof(why) - 1;
    request_tell(&world->request, &ev);
    ev = events_display(3, QUALITY_HARDWARE, 0);
    request_tell(&world->request, &ev);
    ev = events_plain(EVENT_MODEL, 0);
    ev.model.n_trials = 1234;
    request_tell(&world->request, &ev);
    ev = events_plain(EVENT_TRIAL, 0);
    ev.trial.trial = 9;
    ev.trial.verdict = VERDICT_VALID;
    ev.trial.kind = JOB_MEI;
    ev.trial.n_units = 3;
    ev.trial.latency_ns = 100000;
    ev.data = counts;
    ev.data_size = sizeof(counts);
    request_tell(&world->request, &ev);
    ask(world, "{\"do\": \"status\"}");
    assert_says(world, "\"state\":\"armed\"");
    assert_says(world, "\"why\":\"waiting for the display\"");
    assert_says(world, "\"driver\":\"test\"");
    assert_says(world, "\"quality\":\"hardware\"");
    assert_says(world, "\"learned\":1234");
    assert_says(world, "\"number\":9");
    assert_says(world, "\"kind\":\"mei\"");
    assert_says(world, "\"observed\":4.0"); /* of unit 0 */
    assert_says(world, "\"predicted\":2.5");
    assert_says(world, "\"n\":1,");
    assert_says(world, "\"max_ns\":100000");

    ev.trial.unit = UNIT_ALL; /* mean of those that were observed */
    ev.trial.latency_ns = CLOCK_UNKNOWN;
    request_tell(&world->request, &ev);
    ask(world, "{\"do\": \"status\"}");
    assert_says(world, "\"observed\":2.5");
    assert_says(world, "\"predicted\":2.75");
    assert_says(world, "\"n\":1,");
}

static void texts_that_are_too_long_or_not_utf8_harm_nothing(void **state)
{
    struct world *world = *state;
    char text[4096];
    struct event ev = events_plain(EVENT_STATE, 0);
    memset(text, 'w', sizeof(text));
    ev.data = text;
    ev.data_size = ev.state.n_text = sizeof(text);
    request_tell(&world->request, &ev);
    ev = events_display(3, QUALITY_NONE, 0);
    memset(text, 0xc3, 100);
    ev.data = text;
    ev.data_size = ev.display.n_text = 100;
    request_tell(&world->request, &ev);
    ask(world, "{\"do\": \"status\"}");
    assert_says(world, "\"ok\":true");
    assert_int_equal(world->request.why[254], 'w');
    assert_int_equal(world->request.why[255], '\0');
    /* a folder may have any name */
    world->request.session = "sessions/\xe4.evoke";
    ask(world, "{\"do\": \"status\"}");
    assert_refused(world, "UTF-8");
}

static void commands_go_to_the_loop(void **state)
{
    struct world *world = *state;
    char text[64];
    for (unsigned i = COMMAND_PAUSE; i <= COMMAND_STOP; i++) {
        snprintf(text, sizeof(text), "{\"do\":\"%s\"}", command_name(i));
        ask(world, text);
        assert_string_equal(world->reply, "{\"ok\":true}");
        assert_int_equal(world->command.type, EVENT_COMMAND);
        assert_int_equal(world->command.command.command, i);
        assert_int_equal(world->command.data_size, 0);
        assert_int_equal(event_data_size(&world->command), 0);
        assert_int_equal(world->command.time_ns, START_NS + 1500 * EVENTS_MS);
    }
}

static void a_note_carries_its_text(void **state)
{
    struct world *world = *state;
    char text[400], note[300];
    ask(world, "{\"text\": \"the eye moved \\u00e4\", \"do\": \"note\"}");
    assert_string_equal(world->reply, "{\"ok\":true}");
    assert_int_equal(world->command.command.command, COMMAND_NOTE);
    assert_int_equal(world->command.data_size, strlen("the eye moved \xc3\xa4"));
    assert_int_equal(event_data_size(&world->command), world->command.data_size);
    assert_memory_equal(world->command.data, "the eye moved \xc3\xa4",
                        world->command.data_size);
    for (size_t n = CONF_TEXT - 2; n < CONF_TEXT + 2; n++) {
        memset(note, 'n', n);
        note[n] = '\0';
        snprintf(text, sizeof(text), "{\"do\":\"note\",\"text\":\"%s\"}", note);
        ask(world, text);
        if (n < CONF_TEXT) {
            assert_string_equal(world->reply, "{\"ok\":true}");
            assert_int_equal(world->command.data_size, n);
        } else {
            assert_refused(world, "255");
        }
    }
    ask(world, "{\"do\":\"note\"}");
    assert_refused(world, "note needs");
    ask(world, "{\"do\":\"note\",\"text\":5}");
    assert_refused(world, "note needs");
}

static void what_is_no_request_is_refused(void **state)
{
    struct world *world = *state;
    const char *const bad[] = {"",
                               "{",
                               "{}",
                               "[]",
                               "\"status\"",
                               "null",
                               "{\"do\": 5}",
                               "{\"do\": null}",
                               "{\"do\": \"status\"} and more",
                               "{\"do\": \"status\", \"do\": \"stop\"}",
                               "{'do': 'stop'}",
                               "{\"do\": \"st\\u0000op\"}",
                               "{\"do\": \"\xff\xfe\"}",
                               "{\"do\": \"\xc3\"}"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ask(world, bad[i]);
        assert_refused(world, "a request is a JSON object with \\\"do\\\"");
    }
    ask(world, "{\"do\": \"explode\"}");
    assert_refused(world, "must be status, pause, resume, stop or note");
    ask(world, "{\"do\": \"none\"}");
    assert_refused(world, "must be status");
    ask_bytes(world, "{\"do\": \"stop\"}\0", 15);
    assert_refused(world, "a request is");
}

static void deep_nesting_is_refused(void **state)
{
    struct world *world = *state;
    char *deep = malloc(60000);
    memset(deep, '[', 60000);
    ask_bytes(world, deep, 60000);
    assert_refused(world, "a request is");
    free(deep);
}

/* Requests with some bytes changed: always an answer, a command only with ok. */
static void any_bytes_give_a_reply(void **state)
{
    struct world *world = *state;
    static const char *const seeds[] = {"{\"do\": \"status\"}", "{\"do\":\"pause\"}",
                                        "{\"do\":\"note\",\"text\":\"abc\"}"};
    struct random random;
    random_init(&random, events_seed(), 0);
    for (int i = 0; i < 5000; i++) {
        char text[64];
        size_t n;
        snprintf(text, sizeof(text), "%s", seeds[random_below(&random, 3)]);
        n = strlen(text);
        for (unsigned k = random_below(&random, 3); k > 0; k--)
            text[random_below(&random, (uint32_t)n)] = (char)random_u64(&random);
        ask_bytes(world, text,
                  random_below(&random, 4) ? n : random_below(&random, (uint32_t)n));
        if (strstr(world->reply, "\"ok\":true") == NULL)
            assert_refused(world, "\"error\":\"");
        else if (world->command.type != EVENT_NONE)
            assert_int_equal(event_data_size(&world->command), world->command.data_size);
    }
}

#define T(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(status_has_every_counter_by_its_name),
        T(status_tells_what_the_loop_said_last),
        T(texts_that_are_too_long_or_not_utf8_harm_nothing),
        T(commands_go_to_the_loop),
        T(a_note_carries_its_text),
        T(what_is_no_request_is_refused),
        T(deep_nesting_is_refused),
        T(any_bytes_give_a_reply),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
