/* protocol/PROTOCOL.md says what the code does: the fields of every type, and every name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/wire.h"

static char *document;

/* The table under a heading: its first row past the two of the head. */
static const char *table(const char *heading)
{
    const char *at = strstr(document, heading);
    if (!at) {
        fail_msg("PROTOCOL.md has no '%s'", heading);
        return NULL;
    }
    const char *end = strstr(at + 1, "\n#");
    at = strstr(at, "|---|---|---|\n");
    if (!at || (end && at > end))
        return "";
    return strchr(at, '\n') + 1;
}

/* Cells 1 and 2 of a row, without ` and spaces; 0 where the table has ended. */
static int row(const char **at, char first[64], char second[64])
{
    if (sscanf(*at, "| %63[^ |] | `%63[^`]` |", first, second) != 2)
        return 0;
    *at = strchr(*at, '\n') + 1;
    return 1;
}

static void fields_are_as_written(void **state)
{
    static const char *const kinds[] = {"u32", "u64", "i64", "f64"};
    int n_types = 0;
    (void)state;
    for (unsigned type = 1; type < EVENT_TYPE_END; type++) {
        char heading[80], kind[64], name[64];
        int n_fields;
        const struct wire_field *fields = wire_fields(type, &n_fields);
        if (strcmp(event_name(type), "unknown") == 0)
            continue;
        n_types++;
        snprintf(heading, sizeof heading, "\n#### `%s` = %u\n", event_name(type), type);
        const char *at = table(heading);
        for (int i = 0; i < n_fields; i++) {
            if (!row(&at, kind, name))
                fail_msg("PROTOCOL.md: %s has %d fields, not %d", event_name(type), i,
                         n_fields);
            assert_string_equal(name, fields[i].name);
            assert_string_equal(kind, kinds[fields[i].kind]);
        }
        if (row(&at, kind, name))
            fail_msg("PROTOCOL.md: %s has no field %s", event_name(type), name);
    }
    assert_true(n_types > 20);
}

/* One list of names: numbers first .. end-1. */
static void check_names(const char *heading, const char *(*name_of)(unsigned),
                        unsigned first, unsigned end)
{
    char number[64], name[64];
    const char *at = table(heading);
    for (unsigned i = first; i < end; i++) {
        if (!row(&at, number, name))
            fail_msg("PROTOCOL.md: '%s' ends before %u", heading, i);
        assert_int_equal(strtoul(number, NULL, 10), i);
        assert_string_equal(name, name_of(i));
    }
    if (row(&at, number, name))
        fail_msg("PROTOCOL.md: '%s' has no %s", heading, name);
}

static void names_are_as_written(void **state)
{
    (void)state;
    check_names("\n### state\n", state_name, 0, STATE_END + 1);
    check_names("\n### verdict\n", verdict_name, 0, VERDICT_END);
    check_names("\n### reject\n", reject_name, 1, REJECT_END);
    check_names("\n### quality\n", quality_name, 0, QUALITY_PHOTODIODE + 1);
    check_names("\n### job\n", job_name, 0, JOB_MEI + 1);
    check_names("\n### command\n", command_name, COMMAND_PAUSE, COMMAND_NOTE + 1);
    check_names("\n### Counters\n", counter_name, 0, COUNTER_PER_NAME);
    assert_string_equal(command_name(COMMAND_NOTE + 1), "unknown");
    assert_string_equal(job_name(JOB_MEI + 1), "unknown");
}

static void constants_are_as_written(void **state)
{
    (void)state;
    assert_int_equal(WIRE_MAGIC, 0x4b4f5645);
    assert_non_null(strstr(document, "0x4b4f5645: the bytes `EVOK`"));
    assert_int_equal(WIRE_VERSION, 1);
    assert_non_null(strstr(document, "\n| 4 | u16 | version | 1 |\n"));
    assert_int_equal(WIRE_HEADER_SIZE, 32);
    assert_non_null(strstr(document, "\n| 32 | | fields | |\n"));
    assert_int_equal(WIRE_DATA_MAX, 16 << 20);
    assert_non_null(strstr(document, "\n| payload | 16 MiB |\n"));
}

static int read_document(void **state)
{
    const char *folder = getenv("EVOKE_SOURCE_DIR");
    char path[4096];
    (void)state;
    snprintf(path, sizeof path, "%s/protocol/PROTOCOL.md", folder ? folder : ".");
    FILE *file = fopen(path, "rb");
    if (!file)
        return -1;
    document = calloc(1, 1 << 20);
    size_t n = document ? fread(document, 1, (1 << 20) - 1, file) : 0;
    fclose(file);
    return n > 0 ? 0 : -1;
}

static int forget_document(void **state)
{
    (void)state;
    free(document);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_are_as_written),
        cmocka_unit_test(names_are_as_written),
        cmocka_unit_test(constants_are_as_written),
    };
    return cmocka_run_group_tests(tests, read_document, forget_document);
}
