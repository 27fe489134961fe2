/*
 * Recorded data through the real daemon at the highest speed that loses nothing, with the
 * configurations that users are given (docs/experiments).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "models/ops.h"
#include "rig_test.h"
#include "session_test.h"
#include "tests/ref/v4.h"

#define RETINA_LEAST 0.67 /* published LN filters .679; smooth LNP fitted offline .686 */
#define V4_BEHIND    0.03 /* of the offline ridge on the same features */

static struct rig_test *test;

/* A path below a folder that a variable names, else below the source's own. */
static void path_of(const char *variable, const char *standard, const char *name,
                    char *path, size_t size)
{
    const char *folder = getenv(variable), *source = getenv("EVOKE_SOURCE_DIR");

    if (folder)
        snprintf(path, size, "%s/%s", folder, name);
    else
        snprintf(path, size, "%s/%s/%s", source ? source : ".", standard, name);
}

/* The whole of a file as text. */
static char *text_of(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t n;

    assert_non_null(file);
    n = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[n] = '\0';
    return text;
}

/* Play a data set into a daemon of this configuration; the scores. */
static json_t *feed(const char *configuration, const char *data, const char *segment)
{
    char path[4096];
    json_t *scores;
    int code;

    path_of("EVOKE_SOURCE_DIR", "", configuration, path, sizeof(path));
    rig_test_configure(test, text_of(path));
    test->rig_is_off = test->display_is_off = 1;
    rig_test_start(test);
    path_of("EVOKE_SHARED", "../shared", data, path, sizeof(path));
    code = rig_test_run(test, "evoke", "feed", path, "--speed", "max", "--segment",
                        segment, "--stop", "--json", NULL);
    if (code != 0)
        fail_msg("evoke feed exits %d: %s", code, test->error_text);
    scores = json_loads(test->text, 0, NULL);
    assert_non_null(scores);
    assert_int_equal(rig_test_reap(test, test->daemon), 0);
    test->daemon = 0;
    return scores;
}

static double number(const json_t *scores, const char *name)
{
    const json_t *value = json_object_get(scores, name);

    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void check_nothing_lost(const json_t *scores)
{
    print_message("%.0f messages, %.0f trials in %.1f s; ", number(scores, "messages"),
                  number(scores, "trials"), number(scores, "seconds"));
    assert_true(number(scores, "messages_lost") == 0);
    assert_true(number(scores, "events_dropped") == 0);
    assert_true(number(scores, "valid") == number(scores, "trials"));
    assert_true(number(scores, "trials") > 1000);
}

static void check_replay(void)
{
    session_test_newest(test->sessions, test->session, sizeof(test->session));
    if (rig_test_run(test, "evoke", "replay", test->session, "--verify", NULL) != 0 ||
        !strstr(test->text, "no difference"))
        fail_msg("%s%s", test->text, test->error_text);
    print_message("  replay: %s", test->text);
}

static void test_retina(void **state)
{
    (void)state;
    json_t *scores = feed("docs/experiments/retina.conf", "data/retina_rat_bars", "2160");
    double held_out;

    check_nothing_lost(scores);
    held_out = number(scores, "held_out_mean");
    print_message("retina: mean r with the average of the repeats %.4f, at least %.2f\n",
                  held_out, RETINA_LEAST);
    assert_true(held_out >= RETINA_LEAST);
    json_decref(scores);
    check_replay();
}

static void test_v4(void **state)
{
    (void)state;
    json_t *scores = feed("docs/experiments/v4.conf", "data/v4_macaque_210325", "0");
    double ridge, online;

    check_nothing_lost(scores);
    online = number(scores, "prequential_median");
    v4_open(1);
    ridge = v4_offline_ridge();
    v4_close();
    print_message(
        "V4: median prequential r of the second half %.4f; ridge fitted offline "
        "on the first half %.4f\n",
        online, ridge);
    assert_true(online >= ridge - V4_BEHIND);
    json_decref(scores);
    check_replay();
}

static int setup(void **state)
{
    (void)state;
    test = rig_test_open("");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_test_close(test);
    return 0;
}

int main(void)
{
    static const char *const data[] = {"data/retina_rat_bars", "data/v4_macaque_210325"};
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_v4, setup, teardown),
        cmocka_unit_test_setup_teardown(test_retina, setup, teardown),
    };
    char path[4096];

    for (int i = 0; i < 2; i++) {
        path_of("EVOKE_SHARED", "../shared", data[i], path, sizeof(path));
        if (access(path, R_OK) != 0) {
            printf("SKIPPED: %s is not there\n", path);
            return 77;
        }
    }
    ops_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
