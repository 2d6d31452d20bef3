/* A network stack outside of the kernel, with the parts that tests/preloaded.rs needs. When preloaded, it
 * replaces the C library's functions on epoll, eventfds and their descriptors. For the kernel
 * those descriptors refer to /dev/null, which the kernel's epoll refuses, and which discards
 * written bytes: a call that bypasses this library fails or has no effect.
 *
 * An edge is reported when a descriptor becomes readable, and not when more data arrives. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum kind { NOT_OURS, EPOLL, SOCKET, COUNTER };

static struct object {
    enum kind kind;
    /* The bytes to read, or the value of a counter. */
    uint64_t held;
    /* How many times it became readable. */
    uint64_t edges;
} objects[1024];

static struct watch {
    int epoll; /* 0: unused */
    int fd;
    struct epoll_event event;
    uint64_t reported;
} watches[256];

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

/* Used by the test. */
int stack_waits_of_millis, stack_last_millis, stack_waits_of_nanos, stack_refuses_nanos;
int stack_interrupts;

__attribute__((constructor)) static void begin(void) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &attributes);
}

static int is(int fd, enum kind kind) {
    return fd >= 0 && fd < 1024 && objects[fd].kind == kind;
}

static int fail(int error) {
    errno = error;
    return -1;
}

static int make(enum kind kind, uint64_t held) {
    int fd = syscall(SYS_openat, AT_FDCWD, "/dev/null", O_RDWR | O_CLOEXEC);
    if (fd < 0) return -1;
    pthread_mutex_lock(&lock);
    objects[fd] = (struct object){kind, held, held > 0};
    pthread_mutex_unlock(&lock);
    return fd;
}

static void add(int fd, uint64_t amount) {
    pthread_mutex_lock(&lock);
    if (objects[fd].held == 0) objects[fd].edges += 1;
    objects[fd].held += amount;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

/* The stack's own functions. */

int stack_socket(void) { return make(SOCKET, 0); }

void stack_deliver(int fd, unsigned bytes) { add(fd, bytes); }

int stack_open(void) {
    int open = 0;
    pthread_mutex_lock(&lock);
    for (int fd = 0; fd < 1024; fd++) open += objects[fd].kind != NOT_OURS;
    pthread_mutex_unlock(&lock);
    return open;
}

/* The functions that it replaces. */

int eventfd(unsigned count, int flags) {
    (void)flags;
    return make(COUNTER, count);
}

int close(int fd) {
    if (fd >= 0 && fd < 1024) {
        pthread_mutex_lock(&lock);
        objects[fd].kind = NOT_OURS;
        for (struct watch *w = watches; w < watches + 256; w++)
            if (w->epoll && (w->epoll == fd || w->fd == fd)) w->epoll = 0;
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_close, fd);
}

ssize_t read(int fd, void *buffer, size_t length) {
    if (!is(fd, SOCKET) && !is(fd, COUNTER)) return syscall(SYS_read, fd, buffer, length);
    ssize_t given = fail(EAGAIN);
    pthread_mutex_lock(&lock);
    struct object *object = &objects[fd];
    if (object->held > 0 && object->kind == COUNTER) {
        memcpy(buffer, &object->held, given = 8);
        object->held = 0;
    } else if (object->held > 0) {
        given = object->held < length ? object->held : length;
        memset(buffer, 'x', given);
        object->held -= given;
    }
    pthread_mutex_unlock(&lock);
    return given;
}

ssize_t write(int fd, const void *buffer, size_t length) {
    if (!is(fd, COUNTER)) return syscall(SYS_write, fd, buffer, length);
    uint64_t amount;
    if (length != sizeof amount) return fail(EINVAL);
    memcpy(&amount, buffer, sizeof amount);
    add(fd, amount);
    return sizeof amount;
}

int epoll_create1(int flags) {
    (void)flags;
    return make(EPOLL, 0);
}

int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event) {
    if (!is(epoll, EPOLL)) return fail(EBADF);
    if (!is(fd, SOCKET) && !is(fd, COUNTER)) return fail(EPERM);
    pthread_mutex_lock(&lock);
    struct watch *found = NULL, *unused = NULL;
    for (struct watch *w = watches; w < watches + 256; w++) {
        if (w->epoll == epoll && w->fd == fd) found = w;
        if (!w->epoll) unused = w;
    }
    int error = 0;
    if (operation == EPOLL_CTL_ADD)
        error = found ? EEXIST : unused ? 0 : ENOSPC;
    else if (!found)
        error = ENOENT;
    if (!error && operation == EPOLL_CTL_DEL)
        found->epoll = 0;
    else if (!error)
        /* Reports readable descriptors. */
        *(found ? found : unused) = (struct watch){epoll, fd, *event, 0};
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    return error ? fail(error) : 0;
}

static int collect(int epoll, struct epoll_event *events, int most) {
    int count = 0;
    for (struct watch *w = watches; w < watches + 256 && count < most; w++) {
        if (w->epoll != epoll || objects[w->fd].held == 0) continue;
        if (!(w->event.events & EPOLLIN)) continue;
        if (w->event.events & EPOLLET && w->reported == objects[w->fd].edges) continue;
        w->reported = objects[w->fd].edges;
        events[count++] = (struct epoll_event){EPOLLIN, w->event.data};
    }
    return count;
}

/* Until the timeout ends, or for ever. */
static int wait_for(int epoll, struct epoll_event *events, int most, const struct timespec *limit) {
    if (!is(epoll, EPOLL)) return fail(EBADF);
    if (most <= 0) return fail(EINVAL);
    struct timespec end;
    if (limit) {
        clock_gettime(CLOCK_MONOTONIC, &end);
        end.tv_sec += limit->tv_sec + (end.tv_nsec + limit->tv_nsec) / 1000000000;
        end.tv_nsec = (end.tv_nsec + limit->tv_nsec) % 1000000000;
    }
    int count, timed_out = 0;
    pthread_mutex_lock(&lock);
    while ((count = collect(epoll, events, most)) == 0 && !timed_out)
        if (limit)
            timed_out = pthread_cond_timedwait(&changed, &lock, &end) == ETIMEDOUT;
        else
            pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return count;
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int millis) {
    stack_waits_of_millis += 1;
    stack_last_millis = millis;
    if (stack_interrupts > 0) {
        stack_interrupts -= 1;
        return fail(EINTR);
    }
    struct timespec limit = {millis / 1000, millis % 1000 * 1000000};
    return wait_for(epoll, events, most, millis < 0 ? NULL : &limit);
}

#ifdef WITH_EPOLL_PWAIT2
int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *limit,
                 const sigset_t *mask) {
    (void)mask;
    stack_waits_of_nanos += 1;
    if (stack_refuses_nanos) return fail(EACCES);
    if (stack_interrupts > 0) {
        stack_interrupts -= 1;
        return fail(EINTR);
    }
    return wait_for(epoll, events, most, limit);
}
#endif
