#include "watched.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

#include "protocol/log.h"

enum fault { ALLOCATION, LOCK, SYSTEM_CALL, N_FAULTS };

static _Thread_local int is_watched;

static struct {
    atomic_ulong n;
    const char *name;   /* of the first one */
    const void *caller; /* of it */
    int number;         /* of the first system call */
} faults[N_FAULTS];

/* Called in signal handlers and allocators: does nothing but remember. */
static void note(enum fault fault, const char *name, int number, const void *caller)
{
    if (atomic_fetch_add(&faults[fault].n, 1) > 0)
        return;
    faults[fault].name = name;
    faults[fault].number = number;
    faults[fault].caller = caller;
}

int watched_fault(void)
{
    return faults[ALLOCATION].n || faults[LOCK].n || faults[SYSTEM_CALL].n;
}

void watched_print(void)
{
    static const char *const kinds[] = {"allocations", "locks", "forbidden system calls"};

    for (int i = 0; i < N_FAULTS; i++) {
        Dl_info info = {0};
        printf("%lu %s", faults[i].n, kinds[i]);
        if (faults[i].n > 0) {
            dladdr(faults[i].caller, &info);
            if (i == SYSTEM_CALL)
                printf("; the first is number %d", faults[i].number);
            else
                printf("; the first is %s", faults[i].name);
            printf(", called in %s at %s+%#tx", info.dli_fname ? info.dli_fname : "?",
                   info.dli_sname ? info.dli_sname : "base",
                   (const char *)faults[i].caller -
                       (const char *)(info.dli_saddr ? info.dli_saddr : info.dli_fbase));
        }
        putchar('\n');
    }
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)

const char *watched_missing(void)
{
    return "a sanitizer has the allocator, or this is not x86-64";
}

void watched_begin(int fd, int other_fd)
{
    (void)fd;
    (void)other_fd;
    (void)is_watched;
    (void)note;
}

void watched_end(void)
{
}

#else

/* The C library's own, under the names that it keeps for those who replace them. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *mem, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *mem);

#define CAUGHT(fault, name)                                                              \
    do {                                                                                 \
        if (is_watched)                                                                  \
            note(fault, name, 0, __builtin_return_address(0));                           \
    } while (0)

void *malloc(size_t size)
{
    CAUGHT(ALLOCATION, "malloc");
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    CAUGHT(ALLOCATION, "calloc");
    return __libc_calloc(n, size);
}

void *realloc(void *mem, size_t size)
{
    CAUGHT(ALLOCATION, "realloc");
    return __libc_realloc(mem, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    CAUGHT(ALLOCATION, "aligned_alloc");
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **mem, size_t alignment, size_t size)
{
    CAUGHT(ALLOCATION, "posix_memalign");
    *mem = __libc_memalign(alignment, size);
    return *mem ? 0 : ENOMEM;
}

void free(void *mem)
{
    CAUGHT(ALLOCATION, "free");
    __libc_free(mem);
}

int pthread_mutex_lock(pthread_mutex_t *mutex)
{
    static int (*lock)(pthread_mutex_t *);

    CAUGHT(LOCK, "pthread_mutex_lock");
    if (!lock)
        *(void **)&lock = dlsym(RTLD_NEXT, "pthread_mutex_lock");
    return lock(mutex);
}

/* A trapped system call was not made; the thread sees ENOSYS and goes on. */
static void on_trap(int signal, siginfo_t *info, void *context)
{
    ucontext_t *at = context;

    (void)signal;
    if (is_watched)
        note(SYSTEM_CALL, "", info->si_syscall, info->si_call_addr);
    at->uc_mcontext.gregs[REG_RAX] = -ENOSYS;
}

#define NUMBER                offsetof(struct seccomp_data, nr)
#define FIRST                 offsetof(struct seccomp_data, args[0])

/* Load a word; compare it: skip so many if equal, else so many. */
#define LOAD(at)              BPF_STMT(BPF_LD | BPF_W | BPF_ABS, at)
#define EQUAL(value, yes, no) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, yes, no)
#define RETURN(what)          BPF_STMT(BPF_RET | BPF_K, what)

static int filter(int fd, int other_fd)
{
    struct sock_filter code[] = {
        LOAD(NUMBER),
        EQUAL(SYS_futex, 9, 0),
        EQUAL(SYS_clock_gettime, 8, 0),
        EQUAL(SYS_rt_sigreturn, 7, 0),
        EQUAL(SYS_restart_syscall, 6, 0),
        EQUAL(SYS_exit, 5, 0),
        EQUAL(SYS_write, 0, 3),
        LOAD(FIRST),
        EQUAL((unsigned)fd, 2, 0),
        EQUAL((unsigned)other_fd, 1, 0),
        RETURN(SECCOMP_RET_TRAP),
        RETURN(SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -errno;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0 ? 0 : -errno;
}

const char *watched_missing(void)
{
    /* asks only whether there are filters: a NULL program is refused in another way */
    if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, NULL) != 0 && errno == EFAULT)
        return NULL;
    return "this kernel has no seccomp filters";
}

void watched_begin(int fd, int other_fd)
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};

    CHECK(sigaction(SIGSYS, &action, NULL) == 0);
    CHECK(filter(fd, other_fd) == 0);
    is_watched = 1;
}

void watched_end(void)
{
    is_watched = 0;
}

#endif
