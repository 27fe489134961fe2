#include "keep.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "daemon/replay.h"
#include "models/ops.h"
#include "protocol/log.h"
#include "version.h"

/* Text of the moment, as in file names or in full; UTC. */
static void now_text(const char *format, char *text, size_t size)
{
    time_t now = time(NULL);
    struct tm utc;

    gmtime_r(&now, &utc);
    strftime(text, size, format, &utc);
}

/* The newest session file of this name: names sort by time. */
static int find_last(const struct conf *conf, char *path, size_t size)
{
    DIR *folder = opendir(conf->session.directory);
    size_t n = strlen(conf->session.name);
    char last[256] = "";
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        const char *end = strrchr(entry->d_name, '.');
        if (strncmp(entry->d_name, conf->session.name, n) == 0 &&
            entry->d_name[n] == '-' && end && strcmp(end, ".evoke") == 0 &&
            strcmp(entry->d_name, last) > 0)
            snprintf(last, sizeof(last), "%s", entry->d_name);
    }
    if (folder)
        closedir(folder);
    snprintf(path, size, "%s/%s", conf->session.directory, last);
    return last[0] != '\0';
}

static int store_model(struct keep *keep, const char *key, const struct model *model)
{
    const void *state;
    size_t size = model_state(model, &state);
    uint64_t hash = model_hash(model);
    char text[32];
    int error = record_blob(keep->record, hash, "model", state, size);

    snprintf(text, sizeof(text), "%" PRIu64, hash);
    return error ? error : record_meta(keep->record, key, text);
}

/* Put what the interrupted session learned into model. */
static int go_on_with(const char *path, struct model *model)
{
    struct session *session = NULL;
    struct replay *replay = NULL;
    struct replay_count count;
    char text[512] = "";
    const void *state;
    size_t size;
    int error = session_open(&session, path, text, sizeof(text));

    if (!error && session_meta(session, "ended")) {
        session_close(session);
        return -ENOENT;
    }
    if (!error)
        error = replay_open(&replay, session, 0, &count, text, sizeof(text));
    if (!error) {
        size = model_state(replay_model(replay), &state);
        error = model_restore(model, state, size);
        if (error)
            snprintf(text, sizeof(text), "its model is of another configuration");
    }
    if (error)
        log_line(LOG_WARNING, "%s was interrupted, but cannot be gone on with: %s", path,
                 text);
    else
        log_line(LOG_NOTICE,
                 "going on with what the interrupted session %s had learned from %" PRId64
                 " valid trials",
                 path, count.n_valid);
    replay_close(replay);
    session_close(session);
    return error;
}

static int write_identity(struct keep *keep, const struct conf *conf)
{
    struct utsname machine;
    char text[65536], seed[32];
    FILE *config = fmemopen(text, sizeof(text), "w");
    int error;

    if (!config)
        return -ENOMEM;
    conf_print(conf, config, 0);
    fclose(config);
    error = record_meta(keep->record, "config", text);
    uname(&machine);
    snprintf(text, sizeof(text), "%s %s %s", machine.sysname, machine.release,
             machine.machine);
    snprintf(seed, sizeof(seed), "%" PRId64, conf->session.seed);
    if (!error)
        error = record_meta(keep->record, "machine", text);
    now_text("%Y-%m-%dT%H:%M:%SZ", text, sizeof(text));
    if (error || (error = record_meta(keep->record, "started", text)) ||
        (error = record_meta(keep->record, "name", conf->session.name)) ||
        (error = record_meta(keep->record, "seed", seed)) ||
        (error = record_meta(keep->record, "version", EVOKE_VERSION)) ||
        (error = record_meta(keep->record, "git", EVOKE_GIT)) ||
        (error = record_meta(keep->record, "compiler", __VERSION__)) ||
        (error = record_meta(keep->record, "blas_core", ops_core())))
        return error;
    return 0;
}

int keep_open(struct keep *keep, const struct conf *conf, struct model *model)
{
    char last[1024], stamp[32];
    int error, goes_on;

    if (mkdir(conf->session.directory, 0770) != 0 && errno != EEXIST) {
        log_line(LOG_ERROR, "[session] directory = %s: %s", conf->session.directory,
                 strerror(errno));
        return -errno;
    }
    goes_on = conf->session.resume && find_last(conf, last, sizeof(last)) &&
              go_on_with(last, model) == 0;
    now_text("%Y%m%d-%H%M%S", stamp, sizeof(stamp));
    snprintf(keep->path, sizeof(keep->path), "%s/%s-%s.evoke", conf->session.directory,
             conf->session.name, stamp);
    for (int i = 2; access(keep->path, F_OK) == 0; i++) /* two within one second */
        snprintf(keep->path, sizeof(keep->path), "%s/%s-%s-%d.evoke",
                 conf->session.directory, conf->session.name, stamp, i);
    error = record_open(&keep->record, keep->path);
    if (!error)
        error = write_identity(keep, conf);
    if (!error && goes_on)
        error = record_meta(keep->record, "continues", last);
    if (!error && goes_on)
        error = store_model(keep, "model_start", model);
    return error ? error : record_commit(keep->record);
}

int keep_final(struct keep *keep, const struct model *model, int ended)
{
    char stamp[32];
    int error = store_model(keep, "model_final", model);

    now_text("%Y-%m-%dT%H:%M:%SZ", stamp, sizeof(stamp));
    if (!error && ended)
        error = record_meta(keep->record, "ended", stamp);
    return error ? error : record_commit(keep->record);
}

void keep_close(struct keep *keep)
{
    record_close(keep->record);
    keep->record = NULL;
}
