/*
 * `evoke report` and `evoke mei` on sessions whose numbers are known: the same numbers
 * computed here by other means, the page's form, and files that are no sessions.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "models/npy.h"
#include "page.h"
#include "protocol/event.h"
#include "report_session.h"

static char folder[] = "/tmp/evoke-test-report-XXXXXX";
static const char *programs;
static uint64_t seed = 20260301;

/* Exit code of `evoke ARGUMENTS`, all that it said in said. */
static int evoke(char *said, size_t size, const char *arguments)
{
    char command[4096];
    FILE *pipe;
    size_t n;

    snprintf(command, sizeof(command), "cd '%s' && '%s/evoke' %s 2>&1", folder, programs,
             arguments);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    n = fread(said, 1, size - 1, pipe);
    said[n] = '\0';
    return WEXITSTATUS(pclose(pipe));
}

static void evoke_ok(const char *arguments)
{
    char said[4096];
    int code = evoke(said, sizeof(said), arguments);

    if (code != 0)
        print_error("evoke %s: %s", arguments, said);
    assert_int_equal(code, 0);
}

/* It fails with this code, and one line that has these words. */
static void evoke_fails(int code, const char *words, const char *arguments)
{
    char said[4096];
    int got = evoke(said, sizeof(said), arguments);
    const char *end = strchr(said, '\n');

    if (got != code || !end || end[1] != '\0' || !strstr(said, words))
        print_error("evoke %s: exit %d, said: %s\n", arguments, got, said);
    assert_int_equal(got, code);
    assert_non_null(end);
    assert_int_equal(end[1], '\0');
    assert_non_null(strstr(said, words));
}

static char *slurp(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = calloc(1, 8 << 20);

    assert_non_null(file);
    assert_true(fread(text, 1, (8 << 20) - 1, file) > 0);
    fclose(file);
    return text;
}

/* The report of a session: its JSON, and its page in html. */
static json_t *report(const struct report_session *session, char **html)
{
    char arguments[1024], path[512];
    json_t *root;

    snprintf(arguments, sizeof(arguments), "report %s -o %s", session->path,
             session->folder);
    evoke_ok(arguments);
    snprintf(path, sizeof(path), "%s/report.html", session->folder);
    *html = slurp(path);
    snprintf(path, sizeof(path), "%s/report.json", session->folder);
    root = json_load_file(path, 0, NULL);
    assert_non_null(root);
    return root;
}

/* --- numbers, by other means --- */

static const json_t *at(const json_t *root, const char *path)
{
    char copy[256], *rest = copy;

    snprintf(copy, sizeof(copy), "%s", path);
    for (char *name; root && (name = strsep(&rest, "/"));)
        root = isdigit((unsigned char)name[0]) ? json_array_get(root, (size_t)atoi(name))
                                               : json_object_get(root, name);
    return root;
}

static double number(const json_t *root, const char *path)
{
    const json_t *value = at(root, path);

    if (!json_is_number(value))
        print_error("%s is no number\n", path);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void number_is(const json_t *root, const char *path, double wanted)
{
    double value = number(root, path);

    if (!(fabs(value - wanted) <= 1e-7 * (1 + fabs(wanted))))
        print_error("%s is %.12g, not %.12g\n", path, value, wanted);
    assert_true(fabs(value - wanted) <= 1e-7 * (1 + fabs(wanted)));
}

static double unit_number(const json_t *root, int u, const char *name)
{
    char path[128];

    snprintf(path, sizeof(path), "units/%d/%s", u, name);
    return number(root, path);
}

static void unit_number_is(const json_t *root, int u, const char *name, double wanted)
{
    char path[128];

    snprintf(path, sizeof(path), "units/%d/%s", u, name);
    number_is(root, path, wanted);
}

/* Correlation by its definition, in two passes. */
static double correlation(int n, const double *a, const double *b)
{
    double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0;

    for (int i = 0; i < n; i++) {
        mean_a += a[i] / n;
        mean_b += b[i] / n;
    }
    for (int i = 0; i < n; i++) {
        aa += (a[i] - mean_a) * (a[i] - mean_a);
        bb += (b[i] - mean_b) * (b[i] - mean_b);
        ab += (a[i] - mean_a) * (b[i] - mean_b);
    }
    return ab / sqrt(aa * bb);
}

static double cosine(const float *a, const float *b)
{
    double aa = 0, bb = 0, ab = 0;

    for (int i = 0; i < PIXELS; i++) {
        aa += (double)a[i] * (double)a[i];
        bb += (double)b[i] * (double)b[i];
        ab += (double)a[i] * (double)b[i];
    }
    return ab / sqrt(aa * bb);
}

static int valid_of(const struct report_session *session)
{
    int n = 0;

    for (int i = 0; i < TRIALS; i++)
        n += session->trials[i].verdict == VERDICT_VALID;
    return n;
}

static int learned_of(const struct report_session *session)
{
    int n = 0;

    for (int i = 0; i < TRIALS; i++)
        n += session->trials[i].learned != 0;
    return n;
}

static void check_unit_scores(const json_t *root, const struct report_session *session,
                              int u)
{
    double a[TRIALS], b[TRIALS], sum = 0, own = 0, control = 0, bits = 0;
    int n = 0, late = -1, n_learned = 0, n_own = 0, n_control = 0, has_mei = 0;

    for (int i = 0; i < TRIALS; i++) {
        const struct put *trial = &session->trials[i];
        double count = (double)trial->observed[u], rate = (double)trial->predicted[u];
        has_mei |= trial->kind == JOB_MEI;
        if (!trial->learned)
            continue;
        if (n_learned++ == learned_of(session) / 2)
            late = n;
        if (isnan(count))
            continue;
        if (trial->kind == JOB_MEI && trial->unit == (uint32_t)u) {
            own += count;
            n_own++;
        } else if (trial->kind == JOB_RANDOM && has_mei) {
            control += count;
            n_control++;
        }
        /* over the mean so far, which begins as half a spike in one trial */
        bits += count * log2((rate + 1e-8) / ((sum + 0.5) / (n + 1) + 1e-8)) -
                (rate - (sum + 0.5) / (n + 1)) / log(2);
        sum += count;
        a[n] = count;
        b[n++] = rate;
    }
    unit_number_is(root, u, "trials", n);
    unit_number_is(root, u, "mean_count", sum / n);
    unit_number_is(root, u, "correlation", correlation(n, a, b));
    unit_number_is(root, u, "correlation_second_half",
                   correlation(n - late, a + late, b + late));
    unit_number_is(root, u, "bits_per_spike", bits / sum);
    unit_number_is(root, u, "response_to_own_mei/n", n_own);
    unit_number_is(root, u, "response_to_own_mei/mean", own / n_own);
    unit_number_is(root, u, "response_to_random/n", n_control);
    unit_number_is(root, u, "response_to_random/mean", control / n_control);
    unit_number_is(root, u, "mei_gain", own / n_own / (control / n_control));
}

/* Prediction and repeat averages of the images that were shown REPEATS times. */
static void check_repeats(const json_t *root, const struct report_session *session, int u)
{
    double mean[IMAGES] = {0}, prediction[IMAGES] = {0};

    for (int i = HELD_OUT; i < TRIALS; i++) {
        int image = (i - HELD_OUT) % IMAGES;
        mean[image] += (double)session->trials[i].observed[u] / REPEATS;
        prediction[image] += (double)session->trials[i].predicted[u] / REPEATS;
    }
    unit_number_is(root, u, "repeat_correlation", correlation(IMAGES, mean, prediction));
    assert_true(unit_number(root, u, "explainable_variance") > 0);
}

static void check_trials(const json_t *root, const struct report_session *session)
{
    int counts[VERDICT_END] = {0}, kinds[4] = {0}, learned = 0;

    for (int i = 0; i < TRIALS; i++) {
        const struct put *trial = &session->trials[i];
        counts[trial->verdict]++;
        kinds[trial->kind] += trial->verdict == VERDICT_VALID;
        learned += trial->learned != 0;
    }
    number_is(root, "trials/all", TRIALS);
    number_is(root, "trials/valid", counts[VERDICT_VALID]);
    number_is(root, "trials/learned", learned);
    number_is(root, "trials/by_verdict/valid", counts[VERDICT_VALID]);
    number_is(root, "trials/by_verdict/late_frame", counts[VERDICT_LATE_FRAME]);
    number_is(root, "trials/by_verdict/counts_lost", counts[VERDICT_COUNTS_LOST]);
    number_is(root, "trials/valid_by_kind/external", kinds[0]);
    number_is(root, "trials/valid_by_kind/random", kinds[JOB_RANDOM]);
    number_is(root, "trials/valid_by_kind/infomax", kinds[JOB_INFOMAX]);
    number_is(root, "trials/valid_by_kind/mei", kinds[JOB_MEI]);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void check_times(const json_t *root, const struct report_session *session)
{
    double ms[TRIALS];
    int n = 0;

    for (int i = 0; i < TRIALS; i++)
        if (session->trials[i].latency_ns != CLOCK_UNKNOWN)
            ms[n++] = (double)session->trials[i].latency_ns / 1e6;
    qsort(ms, (size_t)n, sizeof(double), by_value);
    number_is(root, "latency_ms/n", n);
    number_is(root, "latency_ms/p50", ms[n / 2 - 1]); /* nearest rank, n is even */
    number_is(root, "latency_ms/p99", ms[(int)ceil(0.99 * n) - 1]);
    number_is(root, "latency_ms/max", ms[n - 1]);
    number_is(root, "clock_uncertainty_ms/n", valid_of(session));
    number_is(root, "clock_uncertainty_ms/max", 4e-3);
    number_is(root, "display/onsets_by_quality/hardware", TRIALS);
    number_is(root, "display/late_onsets", 8);
    number_is(root, "display/frames", 3 * TRIALS);
    number_is(root, "display/late_frames", 8);
    number_is(root, "ingest/rejected/value", 2);
    number_is(root, "session/length_s", 43 - 5e-9);
}

static void check_likeness(const json_t *root, const struct report_session *session)
{
    float mei[PIXELS];

    for (int u = 0; u < 3; u++)
        unit_number_is(root, u, "field_truth_cosine",
                       cosine(session->field[u], session->truth[u]));
    for (int i = 0; i < PIXELS; i++)
        mei[i] = (float)session->mei[i] / 127.5f - 1;
    unit_number_is(root, 1, "mei_truth_cosine", cosine(mei, session->truth[1]));
    assert_true(json_is_true(at(root, "units/1/mei/made_in_session")));
    assert_true(json_is_false(at(root, "units/0/mei/made_in_session")));
    assert_true(json_is_null(at(root, "units/3/field_truth_cosine")));
    number_is(root, "units/1/mei/expected_count", 7.5);
}

/* The first block of random trials, by its definition. */
static void check_learning(const json_t *root, const struct report_session *session)
{
    int block = (int)number(root, "learning/random/trials_in_block"), n = 0, all = 0;
    double a[TRIALS], b[TRIALS];

    for (int i = 0; i < TRIALS; i++) {
        const struct put *trial = &session->trials[i];
        if (trial->verdict != VERDICT_VALID || trial->kind != JOB_RANDOM)
            continue;
        a[all] = (double)trial->observed[2];
        b[all++] = (double)trial->predicted[2];
        if (all == block)
            n = i;
    }
    assert_int_equal(block, all / 8 > 20 ? all / 8 : 20);
    number_is(root, "learning/random/last_trial/0", n);
    number_is(root, "units/2/learning/random/0", correlation(block, a, b));
}

static void check_calibration(const json_t *root, const struct report_session *session)
{
    double n = 0, observed = 0, n_wanted = 0, observed_wanted = 0;

    for (int half = 0; half < 2; half++) {
        const json_t *bins =
            at(root, half ? "calibration/second_half" : "calibration/first_half");
        for (size_t i = 0; i < json_array_size(bins); i++) {
            const json_t *bin = json_array_get(bins, i);
            n += number(bin, "n");
            observed += number(bin, "n") * number(bin, "observed");
        }
    }
    for (int i = 0; i < TRIALS; i++) {
        for (int u = 0; u < UNITS; u++) {
            if (isnan(session->trials[i].observed[u]))
                continue;
            n_wanted++;
            observed_wanted += (double)session->trials[i].observed[u];
        }
    }
    assert_float_equal(n, n_wanted, 0);
    assert_float_equal(observed, observed_wanted, 1e-4);
}

/* --- the page --- */

static int count(const char *text, const char *what)
{
    int n = 0;

    for (; (text = strstr(text, what)); text++)
        n++;
    return n;
}

static void known_numbers(void **state)
{
    const struct report_session *session =
        report_session_make(folder, "full", SESSION_FULL, seed);
    char *html;
    json_t *root = report(session, &html);

    (void)state;
    check_trials(root, session);
    for (int u = 0; u < UNITS - 1; u++)
        check_unit_scores(root, session, u);
    for (int u = 1; u < UNITS - 1; u++) /* unit 0 misses some */
        check_repeats(root, session, u);
    check_times(root, session);
    check_likeness(root, session);
    check_learning(root, session);
    check_calibration(root, session);
    number_is(root, "repeats/stimuli", IMAGES);
    number_is(root, "repeats/trials", IMAGES * REPEATS);
    assert_true(json_is_null(at(root, "units/4/correlation"))); /* never observed */
    assert_true(json_is_null(at(root, "model_unavailable")));
    assert_true(json_is_true(at(root, "session/complete")));
    assert_string_equal(json_string_value(at(root, "timeline/2/state")), "end");
    page_check(html);
    assert_non_null(strstr(html, "look &lt;script&gt;alert(1)&lt;/script&gt; &amp; "
                                 "&quot;quote&quot; ?"));
    assert_int_equal(count(html, "<img "), 4 + UNITS + UNITS); /* truth, model, MEI */
    assert_int_equal(count(html, "data:image/png;base64,iVBORw0KGgo"), 4 + 2 * UNITS);
    json_decref(root);
    free(html);
}

static void nothing_valid(void **state)
{
    const struct report_session *session =
        report_session_make(folder, "invalid", SESSION_INVALID, seed);
    char *html;
    json_t *root = report(session, &html);

    (void)state;
    number_is(root, "trials/all", TRIALS);
    number_is(root, "trials/valid", 0);
    assert_true(json_is_null(at(root, "median_over_units/correlation")));
    assert_non_null(strstr(html, "nothing to score"));
    page_check(html);
    json_decref(root);
    free(html);
}

static void nothing_at_all(void **state)
{
    const struct report_session *session =
        report_session_make(folder, "empty", SESSION_EMPTY, seed);
    char *html;
    json_t *root = report(session, &html);

    (void)state;
    number_is(root, "trials/all", 0);
    number_is(root, "session/events", 0);
    assert_true(json_is_false(at(root, "session/complete")));
    assert_non_null(strstr(html, "No trial ended"));
    assert_non_null(strstr(html, "interrupted"));
    page_check(html);
    json_decref(root);
    free(html);
}

static void configuration_that_cannot_be_read(void **state)
{
    const struct report_session *session =
        report_session_make(folder, "strange", SESSION_STRANGE, seed);
    char *html;
    json_t *root = report(session, &html);

    (void)state;
    check_trials(root, session);
    check_unit_scores(root, session, 1);
    assert_non_null(strstr(json_string_value(at(root, "model_unavailable")), "[future]"));
    page_check(html);
    json_decref(root);
    free(html);
}

/* --- what is no session --- */

static char *in_folder(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void copy(const char *from, const char *to, size_t n)
{
    FILE *in = fopen(from, "r"), *out = fopen(to, "w");
    int c;

    assert_true(in && out);
    for (size_t i = 0; i < n && (c = fgetc(in)) != EOF; i++)
        fputc(c, out);
    fclose(in);
    fclose(out);
}

/* The file with one bit of the first place of these bytes the other way. */
static void flip(const char *path, const char *bytes)
{
    struct stat info;
    char *all, *place;
    FILE *file = fopen(path, "r+");

    assert_non_null(file);
    assert_int_equal(stat(path, &info), 0);
    all = malloc((size_t)info.st_size);
    assert_int_equal(fread(all, 1, (size_t)info.st_size, file), info.st_size);
    place = memmem(all, (size_t)info.st_size, bytes, strlen(bytes));
    assert_non_null(place);
    fseek(file, place - all, SEEK_SET);
    fputc(*place ^ 1, file);
    fclose(file);
    free(all);
}

static void hostile_files(void **state)
{
    char whole[512];
    struct stat info;

    (void)state;
    snprintf(whole, sizeof(whole), "%s",
             report_session_make(folder, "whole", SESSION_FULL, seed)->path);
    assert_int_equal(stat(whole, &info), 0);
    copy(whole, in_folder("cut.evoke"), (size_t)info.st_size / 2);
    copy(whole, in_folder("flipped.evoke"), (size_t)info.st_size);
    flip(in_folder("flipped.evoke"), "look <script>");
    copy(whole, in_folder("nothing.evoke"), 0);
    copy("/proc/self/exe", in_folder("program.evoke"), 1 << 16);
    report_session_make(folder, "contradicts", SESSION_CONTRADICTS, seed);

    evoke_fails(1, "no session file", "report missing.evoke -o out");
    evoke_fails(1, "no session file", "report nothing.evoke -o out");
    evoke_fails(1, "no session file", "report program.evoke -o out");
    evoke_fails(1, "cut.evoke", "report cut.evoke -o out");
    evoke_fails(1, "its hash differs", "report flipped.evoke -o out");
    evoke_fails(1, "trial 20 is of 4 units", "report contradicts.evoke -o out");
    evoke_fails(1, "cannot write to", "report whole.evoke -o /nowhere/at/all");
    evoke_fails(1, "cut.evoke", "mei cut.evoke --unit 0 -o u.png");
    evoke_fails(1, "no session file", "mei program.evoke --unit 0 -o u.png");
    evoke_fails(1, "units 0 to 4", "mei whole.evoke --unit 5 -o u.png");
    evoke_fails(1, "/nowhere/u.png", "mei whole.evoke --unit 0 -o /nowhere/u.png");
    evoke_fails(2, "which session", "report");
    evoke_fails(2, "--wrong", "report --wrong");
    evoke_fails(2, "needs a session", "mei whole.evoke -o u.png");
    evoke_fails(2, "whole number", "mei whole.evoke --unit 1x -o u.png");
    assert_int_equal(access(in_folder("out"), F_OK), -1);
}

static void mei_of_a_unit(void **state)
{
    struct npy npy;
    unsigned char *png;
    double most = 0;

    (void)state;
    report_session_make(folder, "mei", SESSION_FULL, seed);
    evoke_ok("mei mei.evoke --unit 2 -o unit2.png");
    png = (unsigned char *)slurp(in_folder("unit2.png"));
    assert_memory_equal(png, "\x89PNG\r\n\x1a\n", 8);
    assert_int_equal(png[18] << 8 | png[19], 512); /* 8 pixels, 64 times */
    free(png);
    assert_null(npy_open(&npy, in_folder("unit2.npy")));
    assert_int_equal(npy.type, NPY_F4);
    assert_int_equal(npy.n_dims, 2);
    assert_int_equal(npy.shape[0], SIDE);
    assert_int_equal(npy.shape[1], SIDE);
    for (size_t i = 0; i < npy.n; i++)
        most = fmax(most, fabs(npy_get(&npy, i)));
    assert_true(most > 0.3 && most <= 1);
    npy_close(&npy);
    evoke_ok("mei --help");
    evoke_ok("report --help");
}

static int set_up(void **state)
{
    const char *wanted = getenv("EVOKE_SEED");

    (void)state;
    programs = getenv("EVOKE_BIN_DIR");
    if (!programs) {
        print_message("SKIPPED: EVOKE_BIN_DIR does not say where evoke is\n");
        exit(77);
    }
    seed = wanted ? strtoull(wanted, NULL, 10) : seed;
    print_message("EVOKE_SEED=%llu\n", (unsigned long long)seed);
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[256];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_numbers),
        cmocka_unit_test(nothing_valid),
        cmocka_unit_test(nothing_at_all),
        cmocka_unit_test(configuration_that_cannot_be_read),
        cmocka_unit_test(hostile_files),
        cmocka_unit_test(mei_of_a_unit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
