"""A wall clock of a process's own, that a test sets: a library that is loaded before libc."""

import os
import shutil
import struct
import subprocess

from tests.lacking import lacking

_SOURCE = """
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long none, *ahead = &none;

__attribute__((constructor)) static void open_clock(void) {
    int file = open(getenv("TEST_CLOCK"), O_RDONLY | O_CLOEXEC);
    void *page = mmap(0, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED) ahead = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE) now->tv_sec += *ahead;
    return failed;
}

int gettimeofday(struct timeval *now, void *zone) {
    int failed = syscall(SYS_gettimeofday, now, zone);
    now->tv_sec += *ahead;
    return failed;
}

time_t time(time_t *result) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (result) *result = now.tv_sec;
    return now.tv_sec;
}
"""


class WrongClock:
    """How far ahead the clock of those processes is that are started with `environment`."""

    def __init__(self, folder):
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            lacking("no C compiler")
        self._file = folder / "ahead"
        self.set(0)
        library = folder / "clock.so"
        command = [compiler, "-shared", "-fPIC", "-O", "-x", "c", "-o", str(library), "-"]
        subprocess.run(command, input=_SOURCE, text=True, check=True)
        self.environment = {"LD_PRELOAD": str(library), "TEST_CLOCK": str(self._file)}

    def set(self, seconds):
        """Step the clock to so many seconds ahead of the true one."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, struct.pack("@l", seconds), 0)
        os.close(descriptor)
