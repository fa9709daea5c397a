/* The clocks of one process, for tests that cross hours in seconds. Preloaded, it moves the wall clock by CLOCK_SHIFT_MS
   and lets the monotonic clock, and so every wait and timeout, run CLOCK_SPEED times as fast. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

typedef long (*call)(long, ...);

static call kernel(void) {
    static call found;
    if (!found) found = (call)dlsym(RTLD_NEXT, "syscall");
    return found;
}

static long long number(const char *name, long long otherwise) {
    const char *text = getenv(name);
    return text ? atoll(text) : otherwise;
}

static struct timespec from_nanos(long long nanos) {
    return (struct timespec){ .tv_sec = nanos / 1000000000LL, .tv_nsec = nanos % 1000000000LL };
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (kernel()(SYS_clock_gettime, clock, now)) return -1;
    long long nanos = now->tv_sec * 1000000000LL + now->tv_nsec;
    if (clock == CLOCK_REALTIME) nanos += number("CLOCK_SHIFT_MS", 0) * 1000000LL;
    if (clock == CLOCK_MONOTONIC) nanos *= number("CLOCK_SPEED", 1);
    *now = from_nanos(nanos);
    return 0;
}

/* Rust's threads wait until a moment of the monotonic clock, which the kernel has to be told in its own time. */
long syscall(long which, ...) {
    long a[6];
    va_list arguments;
    va_start(arguments, which);
    for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    struct timespec until;
    const struct timespec *wished = (const struct timespec *)a[3];
    if (which == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && !(a[1] & FUTEX_CLOCK_REALTIME) && wished) {
        until = from_nanos((wished->tv_sec * 1000000000LL + wished->tv_nsec) / number("CLOCK_SPEED", 1));
        a[3] = (long)&until;
    }
    return kernel()(which, a[0], a[1], a[2], a[3], a[4], a[5]);
}
