/* Writes argv[1] lines of 100 bytes, each with its number, through stdio as most programs do. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    long count = argc == 2 ? atol(argv[1]) : 0;
    char line[128];

    for (long number = 0; number < count; number++) {
        snprintf(line, sizeof line, "%010ld %-88s\n", number, "the quick brown fox jumps over the lazy dog");
        fwrite(line, 1, 100, stdout);
    }
    return fflush(stdout) != 0;
}
