"""``gitref-lock`` and ``python -m gitref_lock``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; return the exit code. Asking for the version imports nothing else."""
    if sys.argv[1:] == ["--version"]:
        from gitref_lock import __version__

        sys.stdout.write(f"gitref-lock {__version__}\n")
        return 0
    from gitref_lock.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
