/* Makes fsync and fdatasync take longer, for a program that is started with this in LD_PRELOAD. */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <sys/syscall.h>

static int slowly(long call, int fd) {
    const char *given = getenv("SLOW_FSYNC_MS");
    long milliseconds = given ? atol(given) : 0;
    struct timespec wait = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&wait, 0);
    return (int)syscall(call, fd);
}

int fsync(int fd) { return slowly(SYS_fsync, fd); }
int fdatasync(int fd) { return slowly(SYS_fdatasync, fd); }
