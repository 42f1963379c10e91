/* Writes the time of its first instruction, in ns of the monotonic clock, as one line of the file argv[1]. */
#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct timespec now;
    char line[32];

    clock_gettime(CLOCK_MONOTONIC, &now);
    if (argc != 2)
        return 2;
    int fd = open(argv[1], O_WRONLY | O_APPEND | O_CREAT, 0600);
    int size = snprintf(line, sizeof line, "%lld\n", now.tv_sec * 1000000000LL + now.tv_nsec);
    return write(fd, line, size) != size;
}
