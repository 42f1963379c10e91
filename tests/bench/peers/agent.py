"""Inside a machine of its own: run commands and say how long each took. The standard library only.

A line of JSON each way: a list of words comes, seconds or an error text go.
"""

import json
import os
import sys
import time


def timed(words: list[str]) -> float:
    """Seconds from posix_spawn to the reaped exit, output to /dev/null."""
    null = os.open(os.devnull, os.O_RDWR)
    try:
        began = time.perf_counter()
        pid = os.posix_spawnp(
            words[0], words, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, null, n) for n in (0, 1, 2)]
        )
        _, status = os.waitpid(pid, 0)
        took = time.perf_counter() - began
    finally:
        os.close(null)
    if status:
        raise OSError(f"{words}: {os.waitstatus_to_exitcode(status)}")
    return took


if __name__ == "__main__":
    for line in sys.stdin:
        try:
            answer: object = timed(json.loads(line))
        except OSError as e:
            answer = str(e)
        print(json.dumps(answer), flush=True)
