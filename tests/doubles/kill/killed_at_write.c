/* Kills the process that loads it (LD_PRELOAD) at its n-th write to files of one name: before it, or with half of it done.
 *
 * What is counted are the calls by which SQLite changes a file: write, pwrite, ftruncate, fsync, fdatasync, unlink.
 * `arm` sets the name, the call to die at (0: never) and whether half of a write is done before. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static char name[256];
static long calls, fatal;
static int halfway;

void arm(const char *wanted, long at, int half)
{
    snprintf(name, sizeof name, "%s", wanted);
    calls = 0;
    fatal = at;
    halfway = half;
}

long counted(void)
{
    return calls;
}

static void die(void)
{
    kill(getpid(), SIGKILL);
    for (;;)
        pause();
}

static int is_fatal_path(const char *path)
{
    return name[0] && strstr(path, name) && ++calls == fatal;
}

static int is_fatal(int descriptor)
{
    char link[64], path[PATH_MAX];
    ssize_t length;

    if (!name[0])
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return is_fatal_path(path);
}

#define REAL(function, ...) ((__typeof__(&function))dlsym(RTLD_NEXT, #function))(__VA_ARGS__)

#define WRITING(function, offset_type)                                                             \
    ssize_t function(int descriptor, const void *data, size_t size, offset_type offset)             \
    {                                                                                               \
        if (is_fatal(descriptor)) {                                                                 \
            if (halfway && size > 1)                                                                \
                REAL(function, descriptor, data, size / 2, offset);                                 \
            die();                                                                                  \
        }                                                                                           \
        return REAL(function, descriptor, data, size, offset);                                      \
    }

WRITING(pwrite, off_t)
WRITING(pwrite64, off64_t)

ssize_t write(int descriptor, const void *data, size_t size)
{
    if (is_fatal(descriptor)) {
        if (halfway && size > 1)
            REAL(write, descriptor, data, size / 2);
        die();
    }
    return REAL(write, descriptor, data, size);
}

#define CHANGING(function, ...)                                                                    \
    if (is_fatal(descriptor))                                                                       \
        die();                                                                                      \
    return REAL(function, __VA_ARGS__);

int ftruncate(int descriptor, off_t size)
{
    CHANGING(ftruncate, descriptor, size)
}

int ftruncate64(int descriptor, off64_t size)
{
    CHANGING(ftruncate64, descriptor, size)
}

int fsync(int descriptor)
{
    CHANGING(fsync, descriptor)
}

int fdatasync(int descriptor)
{
    CHANGING(fdatasync, descriptor)
}

int unlink(const char *path)
{
    if (is_fatal_path(path))
        die();
    return REAL(unlink, path);
}
