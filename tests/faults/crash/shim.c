/* Ends the process at the n-th call that changes files below a folder. Preloaded before libc.
 *
 * Counted are calls that change something there: open for writing, write, truncate, fsync, rename, link, unlink,
 * mkdir and their variants. A read changes nothing, so a kill there is the kill at the call before.
 *
 *   crash_arm(folder, n, mode)   counts from now on; n = 0 only counts
 *   crash_count()                calls counted since
 *
 * Modes: KILL ends the process before the call. HALF writes half of the bytes first, if the call is a write.
 * POWER also takes away all that was written and not flushed by fsync, as a loss of power may.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { KILL = 0, HALF = 1, POWER = 2 };
enum { LARGEST = 1024, FIRST_SPARE = 600 };

static char folder[PATH_MAX];
static size_t folder_length;
static long target, counted;
static int mode, armed;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

/* files that were written and not flushed: a spare handle each, and their size at the last fsync */
static struct { int spare; dev_t device; ino_t inode; off_t flushed; } dirty[256];
static int dirty_count;
static char inside[LARGEST]; /* whether a handle is of a file in the folder */

static void end(void) {
    if (mode == POWER)
        for (int i = 0; i < dirty_count; i++)
            if (dirty[i].spare >= 0) syscall(SYS_ftruncate, dirty[i].spare, dirty[i].flushed);
    syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
    for (;;) pause();
}

/* Count one call; true if the process has to end at it. */
static int is_last(void) {
    pthread_mutex_lock(&mutex);
    counted++;
    int last = target && counted == target;
    pthread_mutex_unlock(&mutex);
    return last;
}

static int is_below(int at, const char *path) {
    char absolute[PATH_MAX];
    if (!armed || !path) return 0;
    if (path[0] != '/') {
        char base[PATH_MAX], link[64];
        ssize_t size;
        if (at == AT_FDCWD) {
            if (syscall(SYS_getcwd, base, sizeof base) < 0) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            size = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1);
            if (size < 0) return 0;
            base[size] = 0;
        }
        if (snprintf(absolute, sizeof absolute, "%s/%s", base, path) >= (int)sizeof absolute) return 0;
        path = absolute;
    }
    return !strncmp(path, folder, folder_length);
}

static int is_inside(int handle) { return armed && handle >= 0 && handle < LARGEST && inside[handle]; }

static void point(void) {
    if (is_last()) end();
}

static void mark_dirty(int handle) {
    struct stat now;
    if (mode != POWER || !target || fstat(handle, &now) || !S_ISREG(now.st_mode)) return;
    pthread_mutex_lock(&mutex);
    int found = 0;
    for (int i = 0; i < dirty_count; i++)
        found |= dirty[i].spare >= 0 && dirty[i].device == now.st_dev && dirty[i].inode == now.st_ino;
    if (!found && dirty_count < 256) {
        int spare = fcntl(handle, F_DUPFD_CLOEXEC, FIRST_SPARE);
        dirty[dirty_count].spare = spare;
        dirty[dirty_count].device = now.st_dev;
        dirty[dirty_count].inode = now.st_ino;
        dirty[dirty_count].flushed = now.st_size;
        dirty_count++;
    }
    pthread_mutex_unlock(&mutex);
}

static void mark_flushed(int handle) {
    struct stat now;
    if (mode != POWER || fstat(handle, &now)) return;
    pthread_mutex_lock(&mutex);
    for (int i = 0; i < dirty_count; i++)
        if (dirty[i].spare >= 0 && dirty[i].device == now.st_dev && dirty[i].inode == now.st_ino) {
            syscall(SYS_close, dirty[i].spare);
            dirty[i].spare = -1;
        }
    pthread_mutex_unlock(&mutex);
}

void crash_arm(const char *path, long n, int how) {
    snprintf(folder, sizeof folder, "%s", path);
    folder_length = strlen(folder);
    counted = 0;
    target = n;
    mode = how;
    armed = 1;
}

long crash_count(void) { return counted; }

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static int changes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || flags & (O_CREAT | O_TRUNC); }

static int opened(int handle, int below) {
    if (handle >= 0 && handle < LARGEST) inside[handle] = (char)below;
    return handle;
}

static int open_at(int at, const char *path, int flags, mode_t permissions) {
    int below = changes(flags) && is_below(at, path);
    if (below) point();
    return opened((int)syscall(SYS_openat, at, path, flags, permissions), below);
}

#define PERMISSIONS(flags)                                   \
    mode_t permissions = 0;                                  \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                   \
        va_list list;                                        \
        va_start(list, flags);                               \
        permissions = va_arg(list, mode_t);                  \
        va_end(list);                                        \
    }

int open(const char *path, int flags, ...) { PERMISSIONS(flags) return open_at(AT_FDCWD, path, flags, permissions); }
int open64(const char *path, int flags, ...) { PERMISSIONS(flags) return open_at(AT_FDCWD, path, flags, permissions); }
int openat(int at, const char *path, int flags, ...) { PERMISSIONS(flags) return open_at(at, path, flags, permissions); }
int openat64(int at, const char *path, int flags, ...) { PERMISSIONS(flags) return open_at(at, path, flags, permissions); }
int creat(const char *path, mode_t permissions) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, permissions); }

static FILE *opened_stream(FILE *stream, const char *path, const char *how) {
    if (stream && strpbrk(how, "wa+") && is_below(AT_FDCWD, path)) opened(fileno(stream), 1);
    return stream;
}

FILE *fopen(const char *path, const char *how) {
    if (strpbrk(how, "wa+") && is_below(AT_FDCWD, path)) point();
    return opened_stream(REAL(fopen)(path, how), path, how);
}

FILE *fopen64(const char *path, const char *how) {
    if (strpbrk(how, "wa+") && is_below(AT_FDCWD, path)) point();
    return opened_stream(REAL(fopen64)(path, how), path, how);
}

int close(int handle) {
    if (handle >= 0 && handle < LARGEST) inside[handle] = 0;
    return REAL(close)(handle);
}

ssize_t write(int handle, const void *bytes, size_t size) {
    if (is_inside(handle)) {
        mark_dirty(handle);
        if (is_last()) {
            if (mode == HALF) syscall(SYS_write, handle, bytes, size / 2);
            end();
        }
    }
    return REAL(write)(handle, bytes, size);
}

static ssize_t write_at(int handle, const void *bytes, size_t size, off_t offset) {
    if (is_inside(handle)) {
        mark_dirty(handle);
        if (is_last()) {
            if (mode == HALF) syscall(SYS_pwrite64, handle, bytes, size / 2, offset);
            end();
        }
    }
    return syscall(SYS_pwrite64, handle, bytes, size, offset);
}

ssize_t pwrite(int handle, const void *bytes, size_t size, off_t offset) { return write_at(handle, bytes, size, offset); }
ssize_t pwrite64(int handle, const void *bytes, size_t size, off64_t offset) { return write_at(handle, bytes, size, offset); }

ssize_t writev(int handle, const struct iovec *parts, int count) {
    if (is_inside(handle)) {
        mark_dirty(handle);
        point();
    }
    return REAL(writev)(handle, parts, count);
}

/* Calls on a handle, which only count. */
#define ON_HANDLE(result, name, parameters, ...)      \
    result name parameters {                          \
        if (is_inside(handle)) point();               \
        return REAL(name)(__VA_ARGS__);               \
    }

ON_HANDLE(int, ftruncate, (int handle, off_t size), handle, size)
ON_HANDLE(int, ftruncate64, (int handle, off64_t size), handle, size)
ON_HANDLE(ssize_t, sendfile, (int handle, int from, off_t *offset, size_t size), handle, from, offset, size)
ON_HANDLE(ssize_t, sendfile64, (int handle, int from, off64_t *offset, size_t size), handle, from, offset, size)

ssize_t copy_file_range(int from, off64_t *in, int handle, off64_t *out, size_t size, unsigned flags) {
    if (is_inside(handle)) {
        mark_dirty(handle);
        point();
    }
    return REAL(copy_file_range)(from, in, handle, out, size, flags);
}

static int flush_of(int handle, int result) {
    if (!result && armed) mark_flushed(handle); /* also by a handle for reading */
    return result;
}

int fsync(int handle) {
    if (is_inside(handle)) point();
    return flush_of(handle, REAL(fsync)(handle));
}

int fdatasync(int handle) {
    if (is_inside(handle)) point();
    return flush_of(handle, REAL(fdatasync)(handle));
}

/* Calls on paths, which only count. */
#define ON_PATH(name, at, path, parameters, ...)      \
    int name parameters {                             \
        if (is_below(at, path)) point();              \
        return REAL(name)(__VA_ARGS__);               \
    }

ON_PATH(rename, AT_FDCWD, to, (const char *from, const char *to), from, to)
ON_PATH(renameat, to_at, to, (int from_at, const char *from, int to_at, const char *to), from_at, from, to_at, to)
ON_PATH(renameat2, to_at, to, (int from_at, const char *from, int to_at, const char *to, unsigned flags), from_at, from, to_at, to, flags)
ON_PATH(link, AT_FDCWD, to, (const char *from, const char *to), from, to)
ON_PATH(linkat, to_at, to, (int from_at, const char *from, int to_at, const char *to, int flags), from_at, from, to_at, to, flags)
ON_PATH(symlink, AT_FDCWD, path, (const char *to, const char *path), to, path)
ON_PATH(unlink, AT_FDCWD, path, (const char *path), path)
ON_PATH(unlinkat, at, path, (int at, const char *path, int flags), at, path, flags)
ON_PATH(rmdir, AT_FDCWD, path, (const char *path), path)
ON_PATH(mkdir, AT_FDCWD, path, (const char *path, mode_t permissions), path, permissions)
ON_PATH(mkdirat, at, path, (int at, const char *path, mode_t permissions), at, path, permissions)
ON_PATH(truncate, AT_FDCWD, path, (const char *path, off_t size), path, size)
