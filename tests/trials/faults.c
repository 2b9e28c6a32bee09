// Fails the n-th operation that changes files below a folder: a library for LD_PRELOAD.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[4096];
static atomic_long seen, first, last;  // operations first to last fail; none if first is 0

void faults_arm(const char *below, long from, long to) {
  seen = 0, last = to, first = from;
  strncpy(folder, below, sizeof folder - 1);
}

long faults_seen(void) { return seen; }

static int fails(const char *path) {
  if (!folder[0] || strncmp(path, folder, strlen(folder))) return 0;
  long n = ++seen;
  if (!first || n < first || n > last) return 0;
  errno = ENOSPC;
  return 1;
}

static int fails_fd(int fd) {
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  if (n < 0) return 0;
  path[n] = 0;
  return fails(path);
}

static int fails_at(int fd, const char *path) {
  if (path[0] == '/') return fails(path);
  char link[64], whole[8192];
  if (fd == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
  else snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, whole, 4000);
  if (n < 0) return 0;
  snprintf(whole + n, sizeof whole - n, "/%s", path);
  return fails(whole);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define ON_FD(type, name, parameters, arguments, fd) \
  type name parameters { return fails_fd(fd) ? -1 : NEXT(name) arguments; }
#define ON_PATH(type, name, parameters, arguments, fd, path) \
  type name parameters { return fails_at(fd, path) ? -1 : NEXT(name) arguments; }

ON_FD(ssize_t, write, (int f, const void *b, size_t n), (f, b, n), f)
ON_FD(ssize_t, pwrite, (int f, const void *b, size_t n, off_t o), (f, b, n, o), f)
ON_FD(ssize_t, pwrite64, (int f, const void *b, size_t n, off64_t o), (f, b, n, o), f)
ON_FD(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), f)
ON_FD(int, fsync, (int f), (f), f)
ON_FD(int, fdatasync, (int f), (f), f)
ON_FD(int, ftruncate, (int f, off_t n), (f, n), f)
ON_FD(int, ftruncate64, (int f, off64_t n), (f, n), f)
ON_PATH(int, rename, (const char *a, const char *b), (a, b), AT_FDCWD, b)
ON_PATH(int, renameat, (int f, const char *a, int g, const char *b), (f, a, g, b), g, b)
ON_PATH(int, link, (const char *a, const char *b), (a, b), AT_FDCWD, b)
ON_PATH(int, mkdir, (const char *p, mode_t m), (p, m), AT_FDCWD, p)
ON_PATH(int, mkdirat, (int f, const char *p, mode_t m), (f, p, m), f, p)
ON_PATH(int, unlink, (const char *p), (p), AT_FDCWD, p)
ON_PATH(int, unlinkat, (int f, const char *p, int g), (f, p, g), f, p)
ON_PATH(int, rmdir, (const char *p), (p), AT_FDCWD, p)

#define OPEN(name, parameters, call, fd) \
  int name parameters { \
    mode_t mode = 0; \
    if (flags & (O_CREAT | O_TMPFILE)) { \
      va_list more; \
      va_start(more, flags); \
      mode = va_arg(more, mode_t); \
      va_end(more); \
    } \
    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && fails_at(fd, path)) return -1; \
    return NEXT(name) call; \
  }

OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
OPEN(openat, (int f, const char *path, int flags, ...), (f, path, flags, mode), f)
OPEN(openat64, (int f, const char *path, int flags, ...), (f, path, flags, mode), f)
