#include "wake.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, SIGNALLED, ASLEEP };

void wake_init(struct wake *wake)
{
    atomic_init(&wake->word, NOTHING);
    wake->fd = -1;
}

int wake_open(struct wake *wake)
{
    wake_init(wake);
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return wake->fd < 0 ? -errno : 0;
}

void wake_close(struct wake *wake)
{
    if (wake->fd >= 0)
        close(wake->fd);
    wake->fd = -1;
}

void wake_signal(struct wake *wake)
{
    if (atomic_exchange(&wake->word, SIGNALLED) != ASLEEP)
        return;
    if (wake->fd < 0) {
        syscall(SYS_futex, &wake->word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    } else {
        const uint64_t one = 1;
        ssize_t n = write(wake->fd, &one, sizeof(one));
        (void)n; /* full counter: it will wake all the same */
    }
}

void wake_wait(struct wake *wake, int64_t timeout_ns)
{
    unsigned nothing = NOTHING;
    struct timespec timeout = {.tv_sec = timeout_ns / 1000000000,
                               .tv_nsec = timeout_ns % 1000000000};

    if (atomic_compare_exchange_strong(&wake->word, &nothing, ASLEEP))
        syscall(SYS_futex, &wake->word, FUTEX_WAIT_PRIVATE, ASLEEP, &timeout, NULL, 0);
    atomic_exchange(&wake->word, NOTHING);
}

int wake_before_poll(struct wake *wake)
{
    unsigned nothing = NOTHING;
    return !atomic_compare_exchange_strong(&wake->word, &nothing, ASLEEP);
}

void wake_after_poll(struct wake *wake)
{
    uint64_t n;
    ssize_t got = read(wake->fd, &n, sizeof(n));
    (void)got; /* nothing to read is no error: the poll ended for another reason */
    atomic_exchange(&wake->word, NOTHING);
}
