/* Any bytes as a control request: a JSON reply that says whether it is ok, and a command
 * only where one was asked for. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/request.h"
#include "fuzz.h"
#include "protocol/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct conf conf;
    static struct request request;
    char why[256], note[CONF_TEXT], *answer;
    struct event command;
    const json_t *ok;
    json_t *reply;

    if (!request.conf) {
        CHECK(conf_read_text(&conf, "", "defaults", why, sizeof(why)) == 0);
        request_init(&request, &conf, "a session", 0);
    }
    answer = request_answer(&request, (const char *)bytes, size, 1000, &command, note);
    CHECK(answer != NULL);
    reply = json_loads(answer, 0, NULL);
    ok = json_object_get(reply, "ok");
    CHECK(json_is_boolean(ok));
    CHECK(json_is_true(ok) || json_string_value(json_object_get(reply, "error")));
    CHECK(command.type == EVENT_NONE || command.type == EVENT_COMMAND);
    if (command.type == EVENT_COMMAND) {
        CHECK(json_is_true(ok));
        CHECK(command.command.command >= COMMAND_PAUSE &&
              command.command.command <= COMMAND_NOTE);
        CHECK(command.data_size < CONF_TEXT);
        CHECK_EQ(command.data_size, event_data_size(&command));
        CHECK(command.data_size == 0 || command.data == note);
    }
    json_decref(reply);
    free(answer);
    return 0;
}
