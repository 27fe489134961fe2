/*
 * child.h: child processes that are started, kept and stopped.
 *
 * Owner: one thread. Errors: -errno; a child that dies is started again by child_keep(),
 * at most once a second.
 */
#ifndef EVOKE_CHILD_H
#define EVOKE_CHILD_H

#include <stdint.h>
#include <sys/types.h>

struct child {
    const char *name;
    const char *const *argv; /* NULL at the end; argv[0] is the program's path */
    pid_t pid;               /* 0: not running */
    int status;              /* of the last one that ended, as wait() gives it */
    int64_t started_ns;
    int n_starts;
};

/* [slow] Path of a program that lies beside this one. */
void child_path(const char *program, char *path, size_t size);

/* [slow] 0 or -errno. The child gets SIGTERM when this process dies. */
int child_start(struct child *child);

/* [slow] Has it ended? Then pid becomes 0 and 1 is returned. */
int child_ended(struct child *child);

/* [slow] Start it again if it has ended. */
void child_keep(struct child *child);

/* [slow] SIGTERM, and SIGKILL after a while; waits for its end. */
void child_stop(struct child *child);

#endif
