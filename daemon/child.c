#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/clock.h"
#include "protocol/log.h"

#define PATIENCE_NS (3 * NS_PER_S) /* from SIGTERM to SIGKILL */

void child_path(const char *program, char *path, size_t size)
{
    char self[1024];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;

    self[n > 0 ? n : 0] = '\0';
    slash = strrchr(self, '/');
    if (slash)
        slash[1] = '\0';
    snprintf(path, size, "%s%s", self, program);
}

int child_start(struct child *child)
{
    pid_t parent = getpid();
    sigset_t none;

    child->started_ns = clock_now_ns();
    child->n_starts++;
    child->pid = fork();
    if (child->pid < 0) {
        child->pid = 0;
        return -errno;
    }
    if (child->pid > 0)
        return 0;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    execv(child->argv[0], (char *const *)(uintptr_t)child->argv);
    log_line(LOG_ERROR, "%s: %s", child->argv[0], strerror(errno));
    _exit(127);
}

int child_ended(struct child *child)
{
    if (child->pid == 0 || waitpid(child->pid, &child->status, WNOHANG) != child->pid)
        return 0;
    child->pid = 0;
    return 1;
}

void child_keep(struct child *child)
{
    if (child_ended(child))
        log_line(LOG_WARNING, "%s ended (%s %d); starting it again", child->name,
                 WIFSIGNALED(child->status) ? "signal" : "exit",
                 WIFSIGNALED(child->status) ? WTERMSIG(child->status)
                                            : WEXITSTATUS(child->status));
    if (child->pid == 0 && clock_now_ns() - child->started_ns > NS_PER_S)
        child_start(child);
}

void child_stop(struct child *child)
{
    int64_t give_up = clock_now_ns() + PATIENCE_NS;

    if (child->pid == 0)
        return;
    kill(child->pid, SIGTERM);
    while (!child_ended(child)) {
        if (clock_now_ns() > give_up)
            kill(child->pid, SIGKILL);
        clock_sleep_until_ns(clock_now_ns() + 5 * NS_PER_MS);
    }
}
