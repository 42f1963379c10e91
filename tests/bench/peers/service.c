/* The service that all supervisors look after. It appends to the file argv[1] what it does, a line each:

     began PID NS     its first instruction, by the monotonic clock
     wrote PID NS     (lines) the last byte is taken
     ended PID COUNT  (worker) how many lines it has written

   service STAMPS               waits for a signal
   service STAMPS lines N       writes N lines of 100 bytes, then waits
   service STAMPS worker GATE   writes a line "PID NUMBER" every 5 ms until the file GATE is there, then exits with 7,
                                but with 9 if it is not the first; one that begins when GATE is there waits

   service STAMPS quiet GATE    the same without output

   It ends by itself after half an hour, a worker after two minutes. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int stamps;

static long long now(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

static void stamp(const char *what, long long value)
{
    char line[64];
    int size = snprintf(line, sizeof line, "%s %d %lld\n", what, getpid(), value);

    if (write(stamps, line, size) != size)
        _exit(3);
}

static void write_lines(long count)
{
    char line[128];

    for (long number = 0; number < count; number++) {
        snprintf(line, sizeof line, "%010ld %-88s\n", number, "the quick brown fox jumps over the lazy dog");
        fwrite(line, 1, 100, stdout);
    }
    if (fflush(stdout))
        _exit(4);
}

static long work(const char *gate, int writes)
{
    struct timespec pause = {0, 5000000};
    char line[64];
    long count = 0;

    while (access(gate, F_OK)) {
        int size = snprintf(line, sizeof line, "%d %ld\n", getpid(), count);

        if (writes && write(1, line, size) != size)
            _exit(5);
        count += writes;
        nanosleep(&pause, NULL);
    }
    return count;
}

int main(int argc, char **argv)
{
    long long began = now();
    struct stat before;

    if (argc < 2 || (stamps = open(argv[1], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666)) < 0 ||
        fstat(stamps, &before))
        return 2;
    stamp("began", began);
    alarm(1800);
    if (argc == 4 && !strcmp(argv[2], "lines")) {
        write_lines(atol(argv[3]));
        stamp("wrote", now());
    } else if (argc == 4 && (!strcmp(argv[2], "worker") || !strcmp(argv[2], "quiet")) && access(argv[3], F_OK)) {
        alarm(120);
        stamp("ended", work(argv[3], *argv[2] == 'w'));
        return before.st_size ? 9 : 7;
    }
    for (;;)
        pause();
}
