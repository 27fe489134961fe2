#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/conf.h"
#include "events.h"
#include "models/random.h"

#define N_KEYS_MAX 200

/* A key as `conf_print` with help tells of it. */
struct key {
    char section[64], name[64], value[CONF_TEXT], allowed[256];
    double least, most;
    int is_number, is_whole, is_text;
};

static struct key keys[N_KEYS_MAX];
static int n_keys;
static char why[512];

static int read_text(struct conf *conf, const char *ini)
{
    return conf_read_text(conf, ini, "my.conf", why, sizeof(why));
}

static void print_text(const struct conf *conf, char *text, size_t size, int help)
{
    FILE *to = fmemopen(text, size, "w");
    assert_non_null(to);
    conf_print(conf, to, help);
    assert_int_equal(fclose(to), 0);
}

static void keep_key(struct key *key, const char *section, const char *allowed)
{
    const char *range = strstr(allowed, "number from ");
    snprintf(key->section, sizeof(key->section), "%s", section);
    snprintf(key->allowed, sizeof(key->allowed), "%s", allowed);
    key->is_number = range != NULL;
    key->is_text = strncmp(allowed, "text", 4) == 0;
    key->is_whole = strncmp(allowed, "a whole", 7) == 0;
    if (range)
        assert_int_equal(sscanf(range, "number from %lf to %lf", &key->least, &key->most),
                         2);
}

/* All keys, from what is printed for the experimenter. */
static int set_up(void **state)
{
    static char text[65536];
    struct conf conf;
    char section[64] = "", allowed[256] = "", *line;
    (void)state;
    assert_int_equal(read_text(&conf, ""), 0);
    print_text(&conf, text, sizeof(text), 1);
    for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        struct key *key = &keys[n_keys];
        if (line[0] == '#') {
            char *last = strrchr(line, ';');
            snprintf(allowed, sizeof(allowed), "%s", (last ? last : line) + 2);
        } else if (sscanf(line, "[%63[^]]", section) != 1 && n_keys < N_KEYS_MAX) {
            assert_true(sscanf(line, "%63s = %255[^\n]", key->name, key->value) >= 1);
            keep_key(key, section, allowed);
            n_keys++;
        }
    }
    return 0;
}

/* What another key must be for this value to be accepted. */
static const char *companion(const struct key *key, const char *value)
{
    if (strcmp(key->name, "frames") == 0 ||
        (strcmp(key->name, "window_ms") == 0 && atof(value) == 0))
        return "[trial]\nexternal = yes\n[model]\nmemory_mb = 100000\n";
    if (strcmp(key->name, "images") == 0)
        return "[stimulus]\nfolder = pictures\n";
    return "[model]\nmemory_mb = 100000\n";
}

static int set(struct conf *conf, const struct key *key, const char *value)
{
    char ini[1024];
    snprintf(ini, sizeof(ini), "%s[%s]\n%s = %s\n", companion(key, value), key->section,
             key->name, value);
    return read_text(conf, ini);
}

/* The line that conf_print() has for this key. */
static void printed(const struct conf *conf, const struct key *key, char *value)
{
    static char text[65536];
    char start[128], *at;
    print_text(conf, text, sizeof(text), 0);
    snprintf(start, sizeof(start), "[%s]\n", key->section);
    at = strstr(text, start);
    assert_non_null(at);
    snprintf(start, sizeof(start), "\n%s = ", key->name);
    at = strstr(at, start);
    assert_non_null(at);
    at += strlen(start);
    snprintf(value, CONF_TEXT, "%.*s", (int)strcspn(at, "\n"), at);
}

/* This value is taken, printed, and read back from the print as the same. */
static void assert_round_trip(const struct key *key, const char *value)
{
    static char text[65536];
    struct conf conf, again;
    char back[CONF_TEXT];
    if (set(&conf, key, value) != 0)
        fail_msg("[%s] %s = %s: %s", key->section, key->name, value, why);
    printed(&conf, key, back);
    if (key->is_number)
        assert_true(strtod(back, NULL) == strtod(value, NULL));
    else
        assert_string_equal(back, value);
    print_text(&conf, text, sizeof(text), 0);
    assert_int_equal(read_text(&again, text), 0);
    assert_memory_equal(&conf, &again, sizeof(conf));
    print_text(&conf, text, sizeof(text), 1); /* with help too */
    assert_int_equal(read_text(&again, text), 0);
    assert_memory_equal(&conf, &again, sizeof(conf));
}

/* Limits of one key that others narrow further. */
static int is_narrowed(const struct key *key)
{
    return strcmp(key->name, "grey") == 0 ||
           (strcmp(key->section, "ingest") == 0 && strcmp(key->name, "units") == 0) ||
           (strcmp(key->section, "stimulus") == 0 && key->is_whole) ||
           strcmp(key->name, "memory_mb") == 0;
}

static void every_key_round_trips(void **state)
{
    struct random random;
    (void)state;
    random_init(&random, events_seed(), 0);
    assert_true(n_keys > 70);
    for (int k = 0; k < n_keys; k++) {
        const struct key *key = &keys[k];
        char value[256], choices[256];
        assert_round_trip(key, key->value);
        if (!key->is_number && !key->is_text) {
            snprintf(choices, sizeof(choices), "%s", key->allowed);
            for (char *c = strtok(choices, " |"); c; c = strtok(NULL, " |"))
                assert_round_trip(key, c);
        } else if (key->is_text) {
            assert_round_trip(key, "/a folder/of.some-kind_\xc3\xa4");
        } else if (!is_narrowed(key)) {
            snprintf(value, sizeof(value), "%.17g", key->most);
            assert_round_trip(key, value);
            snprintf(value, sizeof(value), "%.17g", key->least);
            assert_round_trip(key, value);
            for (int i = 0; i < 5; i++) { /* all bits of a number count */
                double x =
                    key->least + random_uniform(&random) * (key->most - key->least);
                snprintf(value, sizeof(value), "%.17g", key->is_whole ? floor(x) : x);
                assert_round_trip(key, value);
            }
        }
    }
}

static void assert_says(const char *what)
{
    if (!strstr(why, what))
        fail_msg("\"%s\" does not say \"%s\"", why, what);
}

static void a_value_that_cannot_be_is_refused_with_what_can(void **state)
{
    (void)state;
    for (int k = 0; k < n_keys; k++) {
        const struct key *key = &keys[k];
        const char *words[] = {"abc", "1x", "nan", "inf", "1 2", "", "1.5", "", ""};
        char below[64], above[64], start[256];
        struct conf conf;
        int n_words = key->is_number ? 9 : 6;
        if (key->is_text)
            continue;
        snprintf(below, sizeof(below), "%.17g", key->least - 1e-3 - fabs(key->least));
        snprintf(above, sizeof(above), "%.17g", key->most * 1.01 + 1);
        words[7] = below;
        words[8] = above;
        for (int i = 0; i < n_words; i++) {
            if (i == 6 && !key->is_whole)
                continue;
            assert_int_equal(set(&conf, key, words[i]), -EINVAL);
            snprintf(start, sizeof(start), "[%.50s] %.50s = %.50s: must be ",
                     key->section, key->name, words[i]);
            assert_says(key->allowed);
            assert_says("my.conf:");
            assert_says(start);
        }
    }
}

static void the_first_bad_line_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *ini, *says;
    } cases[] = {
        {"[session]\nnam = a\nbogus = 3\n", "my.conf:2: [session] nam: no such key"},
        {"[sesion]\nname = a\n", "my.conf:2: [sesion] name: no such key"},
        {"name = a\n", "my.conf:1: [] name: no such key"},
        {"# fine\n\n[session\nname = a\n", "my.conf:3: not of the form key = value"},
        {"[session]\nname\nseed = x\n", "my.conf:2: not of the form key = value"},
        {"[session]\nseed = x\nname\n", "my.conf:2: [session] seed = x: must be a whole"},
        {"[session]\nname = a\n  and more\n", "my.conf:3: not of the form"},
        {"[session]\nseed = 1\r\nseed = -1\r\n", "my.conf:3: [session] seed = -1: must"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf conf;
        assert_int_equal(read_text(&conf, cases[i].ini), -EINVAL);
        assert_says(cases[i].says);
    }
}

static void a_line_that_is_too_long_is_not_cut(void **state)
{
    (void)state;
    for (size_t n = 100; n < 600; n++) {
        char value[600], ini[700];
        struct conf conf;
        int error;
        memset(value, 'a', n);
        value[n] = '\0';
        snprintf(ini, sizeof(ini), "[session]\nname = %s\nseed = 5\n", value);
        error = read_text(&conf, ini);
        if (n <= 180)
            assert_int_equal(error, 0);
        if (error == 0) {
            assert_string_equal(conf.session.name, value);
            assert_int_equal(conf.session.seed, 5);
        } else {
            assert_int_equal(error, -EINVAL);
            assert_says("my.conf:2: ");
        }
    }
}

static void indentation_comments_and_order_do_not_matter(void **state)
{
    (void)state;
    struct conf conf;
    assert_int_equal(read_text(&conf, "\xef\xbb\xbf# of mine\n  [trial]\n\n   ; more\n"
                                      "\tgap_ms=7 ; said here\n"
                                      "[session]\r\n  name = x y \r\n   seed = 3\r\n"
                                      "[trial]\n  gap_ms : 8"),
                     0);
    assert_string_equal(conf.session.name, "x y");
    assert_int_equal(conf.session.seed, 3);
    assert_true(conf.trial.gap_ms == 8.0);
    assert_string_equal(conf.session.directory, "sessions"); /* its default */
}

static void keys_are_checked_against_each_other(void **state)
{
    (void)state;
    static const struct {
        const char *ini, *says; /* NULL: accepted */
    } cases[] = {
        {"[ingest]\nendpoint = tcp://*:5555\n", "[ingest] endpoint: tcp needs insecure"},
        {"[ingest]\nendpoint = tcp://*:5555\ninsecure = yes\n", NULL},
        {"[ingest]\nendpoint = ipc:///tmp/x.sock\n", NULL},
        {"[stimulus]\nframes = 2\n", "[stimulus] frames"},
        {"[stimulus]\nframes = 2\n[trial]\nexternal = yes\n", NULL},
        {"[trial]\nwindow_ms = 0\n", "[trial] window_ms"},
        {"[stimulus]\nimages = folder\n", "[stimulus] folder"},
        {"[display]\ngrey = 0.4\n", "[display] grey"},
        {"[model]\nmemory_mb = 1\n[stimulus]\nheight = 1024\nwidth = 1024\n", "[model]"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct conf conf;
        int error = read_text(&conf, cases[i].ini);
        assert_int_equal(error, cases[i].says ? -EINVAL : 0);
        if (cases[i].says) {
            assert_says("my.conf: ");
            assert_says(cases[i].says);
        }
    }
}

static void what_the_loop_gets_is_what_was_asked_for(void **state)
{
    (void)state;
    struct conf conf;
    struct loop_conf loop;
    assert_int_equal(
        read_text(&conf, "[ingest]\nunits = 5\nsources = 3\nsilence_s = 1.5\nhistory_s = "
                         "3\nmax_bin_hz = 10\ndiode_line = 4\n[trial]\nstimulus_ms = "
                         "33.3\nmax_attempts = 9\n[session]\nseed = 77\n[learn]\n"
                         "together = 8\n[display]\nquality = hardware\n"),
        0);
    conf_loop(&conf, &loop);
    assert_int_equal(loop.sources.n_units, 5);
    assert_int_equal(loop.sources.n_sources, 3);
    assert_int_equal(loop.sources.silence_ns, 1500000000);
    assert_true(loop.sources.n_rows >= 30);
    assert_int_equal(loop.sources.diode_line, 4);
    assert_int_equal(loop.trial.duration_ns, 33300000);
    assert_int_equal(loop.trial.max_attempts, 9);
    assert_int_equal(loop.trial.min_quality, QUALITY_HARDWARE);
    assert_int_equal(loop.supply.seed, 77);
    assert_int_equal(loop.supply.policy.n_together, 5); /* no more than there are */
    assert_int_equal(loop.model.n_units, 5);
}

static int read_bytes(const char *bytes, size_t n)
{
    char path[] = "/tmp/test_conf-XXXXXX";
    int fd = mkstemp(path), error;
    struct conf conf;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, n), n);
    close(fd);
    error = conf_read(&conf, path, why, sizeof(why));
    unlink(path);
    if (error)
        assert_says(path);
    return error;
}

static void a_file_that_is_none_is_refused(void **state)
{
    (void)state;
    struct conf conf;
    char *large = calloc(1, 100000);
    assert_int_equal(conf_read(&conf, "/no/such/file", why, sizeof(why)), -ENOENT);
    assert_says("/no/such/file: No such file");
    assert_int_not_equal(conf_read(&conf, "/tmp", why, sizeof(why)), 0);
    assert_says("/tmp: ");
    memset(large, '\n', 99999);
    assert_int_equal(read_bytes(large, 99999), -EINVAL);
    assert_int_equal(read_bytes("[session]\0\nnonsense", 19), -EINVAL);
    assert_int_equal(read_bytes("[session]\nseed = 4\n", 19), 0);
    free(large);
}

static void all_experiments_of_the_documents_are_accepted(void **state)
{
    (void)state;
    const char *source = getenv("EVOKE_SOURCE_DIR");
    char folder[512], path[1024];
    struct dirent *entry;
    int n = 0;
    snprintf(folder, sizeof(folder), "%s/docs/experiments", source ? source : ".");
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    while ((entry = readdir(dir))) {
        struct conf conf;
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".conf") != 0)
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        if (conf_read(&conf, path, why, sizeof(why)) != 0)
            fail_msg("%s", why);
        n++;
    }
    closedir(dir);
    assert_true(n >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_round_trips),
        cmocka_unit_test(a_value_that_cannot_be_is_refused_with_what_can),
        cmocka_unit_test(the_first_bad_line_is_named),
        cmocka_unit_test(a_line_that_is_too_long_is_not_cut),
        cmocka_unit_test(indentation_comments_and_order_do_not_matter),
        cmocka_unit_test(keys_are_checked_against_each_other),
        cmocka_unit_test(what_the_loop_gets_is_what_was_asked_for),
        cmocka_unit_test(a_file_that_is_none_is_refused),
        cmocka_unit_test(all_experiments_of_the_documents_are_accepted),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
