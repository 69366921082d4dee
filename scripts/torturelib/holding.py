"""The command that ``run`` wraps: it notes in true time from when to when it worked, under which lease.

Each line is complete in itself, so that whatever kills this process cannot take back what it did. A stubborn one does
not hear SIGTERM.
"""

import json
import os
import signal
import sys
import time


def main() -> int:
    """Work for the given seconds; end with 0, or with 143 when asked to stop."""
    target, seconds, is_stubborn = sys.argv[1], float(sys.argv[2]), sys.argv[3] == "stubborn"
    stopped = []
    signal.signal(signal.SIGTERM, signal.SIG_IGN if is_stubborn else lambda *_: stopped.append(True))
    output = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    lease = {
        "lock": os.environ["GITREF_LOCK_NAME"],
        "token": os.environ["GITREF_LOCK_LEASE"],
        "generation": int(os.environ["GITREF_LOCK_GENERATION"]),
    }
    until = time.monotonic() + seconds
    while not stopped:
        os.write(output, (json.dumps({"at_s": time.time(), **lease}) + "\n").encode())
        if time.monotonic() >= until:
            return 0
        time.sleep(0.05)
    return 143


if __name__ == "__main__":
    sys.exit(main())
