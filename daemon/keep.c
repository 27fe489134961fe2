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

/* The moment in a session file's name, NAME-YYYYMMDD-HHMMSS.evoke or, for the N-th within
 * one second, NAME-YYYYMMDD-HHMMSS-N.evoke, as a number that grows; 0: another file. */
static uint64_t moment_of(const struct conf *conf, const char *file)
{
    size_t n_name = strlen(conf->session.name);
    unsigned date, time, nth = 1;
    int n_stamp = 0, n_nth = 0;

    if (strncmp(file, conf->session.name, n_name) != 0)
        return 0;
    file += n_name;
    if (sscanf(file, "-%8u-%6u%n", &date, &time, &n_stamp) != 2 || n_stamp != 16)
        return 0;
    if (sscanf(file + n_stamp, "-%6u%n", &nth, &n_nth) == 1)
        n_stamp += n_nth;
    if (strcmp(file + n_stamp, ".evoke") != 0)
        return 0;
    return (date * UINT64_C(1000000) + time) * 1000000 + nth;
}

/* The newest session file of this name from before that moment, which becomes its own. */
static int find_last(const struct conf *conf, uint64_t *before, char *path, size_t size)
{
    DIR *folder = opendir(conf->session.directory);
    uint64_t newest = 0;
    const struct dirent *entry;

    while (folder && (entry = readdir(folder))) {
        uint64_t moment = moment_of(conf, entry->d_name);
        if (moment <= newest || moment >= *before)
            continue;
        newest = moment;
        snprintf(path, size, "%s/%s", conf->session.directory, entry->d_name);
    }
    if (folder)
        closedir(folder);
    *before = newest;
    return newest != 0;
}

/* The last session of this name that has begun; a daemon that is killed while it starts
 * leaves a file that is none. */
static int find_begun(const struct conf *conf, struct session **session, char *path,
                      size_t size)
{
    uint64_t before = UINT64_MAX;
    char text[512];

    while (find_last(conf, &before, path, size)) {
        if (session_open(session, path, text, sizeof(text)) != 0)
            continue;
        if (session_meta(*session, "config"))
            return 1;
        session_close(*session);
    }
    return 0;
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

/* Put what the last session had learned into model, if it was interrupted; its path.
 * -ENOENT if there is nothing to go on with. */
static int go_on(const struct conf *conf, struct model *model, char *path, size_t size)
{
    struct session *session = NULL;
    struct replay *replay = NULL;
    struct replay_count count;
    char text[512] = "";
    const void *state;
    size_t n_state;
    int error;

    if (!find_begun(conf, &session, path, size))
        return -ENOENT;
    if (session_meta(session, "ended")) {
        session_close(session);
        return -ENOENT;
    }
    error = replay_open(&replay, session, 0, &count, text, sizeof(text));
    if (!error) {
        n_state = model_state(replay_model(replay), &state);
        error = model_restore(model, state, n_state);
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

static int write_identity(struct keep *keep, const struct conf *conf,
                          const struct images *images)
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
    snprintf(text, sizeof(text), "%" PRIu64, images ? images_hash(images) : 0);
    if (!error)
        error = record_meta(keep->record, "images", text);
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

int keep_open(struct keep *keep, const struct conf *conf, const struct images *images,
              struct model *model)
{
    char last[1024], stamp[32];
    int error, goes_on;

    if (mkdir(conf->session.directory, 0770) != 0 && errno != EEXIST) {
        log_line(LOG_ERROR, "[session] directory = %s: %s", conf->session.directory,
                 strerror(errno));
        return -errno;
    }
    goes_on = conf->session.resume && go_on(conf, model, last, sizeof(last)) == 0;
    now_text("%Y%m%d-%H%M%S", stamp, sizeof(stamp));
    snprintf(keep->path, sizeof(keep->path), "%s/%s-%s.evoke", conf->session.directory,
             conf->session.name, stamp);
    for (int i = 2; access(keep->path, F_OK) == 0; i++) /* two within one second */
        snprintf(keep->path, sizeof(keep->path), "%s/%s-%s-%d.evoke",
                 conf->session.directory, conf->session.name, stamp, i);
    error = record_open(&keep->record, keep->path);
    if (!error)
        error = write_identity(keep, conf, images);
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

const char *keep_git(void)
{
    return EVOKE_GIT;
}

void keep_close(struct keep *keep)
{
    record_close(keep->record);
    keep->record = NULL;
}
