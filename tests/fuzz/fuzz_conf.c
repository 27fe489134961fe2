/* Any text as a configuration: refused with a reason, or printed so that it reads back as
 * the same. */
#include <stdlib.h>
#include <string.h>

#include "daemon/conf.h"
#include "fuzz.h"

static void print(const struct conf *conf, char text[65536])
{
    FILE *to = fmemopen(text, 65536, "w");

    CHECK(to != NULL);
    conf_print(conf, to, 0);
    fclose(to);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static struct conf conf, again;
    static char first[65536], second[65536];
    struct loop_conf loop;
    struct job_conf job;
    char why[1024], *ini = malloc(size + 1);

    CHECK(ini != NULL);
    memcpy(ini, bytes, size);
    ini[size] = '\0';
    if (conf_read_text(&conf, ini, "input", why, sizeof(why)) != 0) {
        CHECK(why[0] != '\0');
        free(ini);
        return 0;
    }
    free(ini);
    conf_loop(&conf, &loop);
    conf_job(&conf, NULL, &job);
    CHECK(model_check(&loop.model) == NULL);
    print(&conf, first);
    if (conf_read_text(&again, first, "printed", why, sizeof(why)) != 0) {
        fprintf(stderr, "%s\n%s\n", why, first);
        abort();
    }
    print(&again, second);
    CHECK(strcmp(first, second) == 0);
    return 0;
}
