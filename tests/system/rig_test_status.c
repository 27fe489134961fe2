#include "rig_test.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <string.h>

#include "session_test.h"

json_t *rig_test_status(struct rig_test *test)
{
    json_t *status;

    if (rig_test_run(test, "evoke", "status", "--json", NULL) != 0)
        fail_msg("%s", test->error_text);
    status = json_loads(test->text, 0, NULL);
    assert_non_null(status);
    return status;
}

int64_t rig_test_count(struct rig_test *test, const char *path)
{
    json_t *status = rig_test_status(test);
    const json_t *at = status;
    char names[128], *rest = names, *name;
    int64_t value;

    snprintf(names, sizeof(names), "%s", path);
    while (at && (name = strsep(&rest, ".")))
        at = json_object_get(at, name);
    if (!json_is_integer(at))
        fail_msg("the status has no number %s", path);
    value = json_integer_value(at);
    json_decref(status);
    return value;
}

void rig_test_await_count(struct rig_test *test, const char *path, int64_t value)
{
    int64_t until_ns = clock_now_ns() + RIG_TEST_PATIENCE_NS, now;

    while ((now = rig_test_count(test, path)) != value) {
        if (now > value || clock_now_ns() > until_ns)
            fail_msg("%s is %" PRId64 ", not %" PRId64, path, now, value);
        rig_test_await(test, EVENT_STATUS);
    }
}

const char *rig_test_check_session(struct rig_test *test)
{
    struct session_test found;

    session_test_newest(test->sessions, test->session, sizeof(test->session));
    if (rig_test_run(test, "evoke", "replay", test->session, "--verify", NULL) != 0 ||
        !strstr(test->text, "no difference"))
        fail_msg("%s: %s%s", test->session, test->text, test->error_text);
    session_test_read(test->session, &found);
    return test->session;
}
