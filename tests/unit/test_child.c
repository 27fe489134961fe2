#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon/child.h"
#include "protocol/clock.h"

static const char *const forever[] = {"/bin/sh", "-c", "exec sleep 1000", NULL};
static const char *const exit_3[] = {"/bin/sh", "-c", "exit 3", NULL};
static const char *const no_program[] = {"/no/such/program", NULL};

/* Wait until a process has ended, without taking its status. */
static void await_end(pid_t pid)
{
    struct pollfd item = {.fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN};
    assert_true(item.fd >= 0);
    assert_int_equal(poll(&item, 1, 60000), 1);
    close(item.fd);
}

/* It has ended, at last. */
static void assert_ends(struct child *child)
{
    await_end(child->pid);
    assert_int_equal(child_ended(child), 1);
    assert_int_equal(child->pid, 0);
    assert_int_equal(child_ended(child), 0); /* told once */
}

static void a_child_runs_until_it_ends(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = exit_3};
    assert_int_equal(child_ended(&child), 0);
    assert_int_equal(child_start(&child), 0);
    assert_true(child.pid > 0);
    assert_int_equal(child.n_starts, 1);
    assert_ends(&child);
    assert_true(WIFEXITED(child.status));
    assert_int_equal(WEXITSTATUS(child.status), 3);
}

static void a_running_child_has_not_ended(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = forever};
    pid_t pid;
    assert_int_equal(child_start(&child), 0);
    pid = child.pid;
    assert_int_equal(child_ended(&child), 0);
    child_keep(&child);
    assert_int_equal(child.pid, pid);
    assert_int_equal(child.n_starts, 1);
    kill(pid, SIGKILL);
    assert_ends(&child);
    assert_true(WIFSIGNALED(child.status));
    assert_int_equal(WTERMSIG(child.status), SIGKILL);
}

static void a_program_that_is_not_there_ends_with_127(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = no_program};
    assert_int_equal(child_start(&child), 0);
    assert_ends(&child);
    assert_int_equal(WEXITSTATUS(child.status), 127);
}

static void a_dead_child_is_started_again_at_most_once_a_second(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = exit_3};
    for (int i = 1; i <= 3; i++) {
        /* begun in the future, so that the second cannot pass while this runs */
        assert_int_equal(child_start(&child), 0);
        assert_int_equal(child.n_starts, i);
        await_end(child.pid);
        child.started_ns = clock_now_ns() + 1000 * NS_PER_S;
        child_keep(&child);
        assert_int_equal(child.pid, 0);
        child_keep(&child);
        assert_int_equal(child.n_starts, i);
    }
    child.started_ns = clock_now_ns() - 2 * NS_PER_S;
    child_keep(&child);
    assert_int_equal(child.n_starts, 4);
    assert_true(child.pid > 0);
    assert_true(clock_now_ns() - child.started_ns < 1000 * NS_PER_S);
    assert_ends(&child);
}

static void stop_asks_it_to_end(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = forever};
    child_stop(&child); /* not running: nothing to do */
    assert_int_equal(child_start(&child), 0);
    child_stop(&child);
    assert_int_equal(child.pid, 0);
    assert_true(WIFSIGNALED(child.status));
    assert_int_equal(WTERMSIG(child.status), SIGTERM);
}

static void stop_does_not_take_no_for_an_answer(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = forever};
    void (*before)(int) = signal(SIGTERM, SIG_IGN); /* the child inherits this */
    assert_int_equal(child_start(&child), 0);
    signal(SIGTERM, before);
    child_stop(&child);
    assert_int_equal(child.pid, 0);
    assert_true(WIFSIGNALED(child.status));
    assert_int_equal(WTERMSIG(child.status), SIGKILL);
}

static void it_gets_signals_that_its_parent_holds_back(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = forever};
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    assert_int_equal(child_start(&child), 0);
    sigprocmask(SIG_SETMASK, &before, NULL);
    child_stop(&child);
    assert_int_equal(WTERMSIG(child.status), SIGTERM);
}

/* A process in between starts a child, tells its id, and is killed: the child, whose
 * end this process waits for, must not outlive it. */
static void it_ends_with_the_process_that_started_it(void **state)
{
    (void)state;
    struct child child = {.name = "child", .argv = forever};
    struct pollfd item = {.events = POLLIN};
    int told[2];
    pid_t between;
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    between = fork();
    if (between == 0) {
        if (child_start(&child) != 0 ||
            write(told[1], &child.pid, sizeof(child.pid)) != sizeof(child.pid))
            _exit(1);
        for (;;)
            pause();
    }
    assert_int_equal(read(told[0], &child.pid, sizeof(child.pid)), sizeof(child.pid));
    item.fd = (int)syscall(SYS_pidfd_open, child.pid, 0);
    assert_true(item.fd >= 0);
    kill(between, SIGKILL);
    assert_int_equal(waitpid(between, NULL, 0), between);
    assert_int_equal(poll(&item, 1, 60000), 1);
    close(item.fd);
    close(told[0]);
    close(told[1]);
}

static void programs_lie_beside_this_one(void **state)
{
    (void)state;
    char path[1024], self[1024], small[8];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n] = '\0';
    child_path("test_child", path, sizeof(path));
    assert_string_equal(path, self);
    child_path("test_child", small, sizeof(small));
    assert_true(strlen(small) < sizeof(small));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_runs_until_it_ends),
        cmocka_unit_test(a_running_child_has_not_ended),
        cmocka_unit_test(a_program_that_is_not_there_ends_with_127),
        cmocka_unit_test(a_dead_child_is_started_again_at_most_once_a_second),
        cmocka_unit_test(stop_asks_it_to_end),
        cmocka_unit_test(stop_does_not_take_no_for_an_answer),
        cmocka_unit_test(it_gets_signals_that_its_parent_holds_back),
        cmocka_unit_test(it_ends_with_the_process_that_started_it),
        cmocka_unit_test(programs_lie_beside_this_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
