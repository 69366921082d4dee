"""The real clocks, randomness and sleep: the only module that knows the time."""

from __future__ import annotations

import os
import time
from pathlib import Path

from gitref_lock.core.names import Nonce
from gitref_lock.ports import System

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The clocks of this machine."""

    def monotonic(self) -> float:
        """CLOCK_MONOTONIC: stops in suspend on Linux."""
        return time.monotonic()

    def boottime(self) -> float:
        """CLOCK_BOOTTIME where it exists, else the monotonic clock."""
        clock_id = getattr(time, "CLOCK_BOOTTIME", None)
        return time.clock_gettime(clock_id) if clock_id is not None else time.monotonic()

    def wall(self) -> float:
        """Unix time of this machine."""
        return time.time()

    def boot_id(self) -> str:
        """The kernel's boot id; '' where the platform has none."""
        try:
            return _BOOT_ID.read_text(encoding="ascii").strip()
        except OSError:
            return ""


class SystemEntropy:
    """Nonces and jitter from the operating system: modules of generators would cost a short command more than that."""

    def nonce(self) -> Nonce:
        """Return 96 random bits as hex."""
        return Nonce(os.urandom(12).hex())

    def uniform(self, low: float, high: float) -> float:
        """Return a number between ``low`` and ``high``."""
        return low + (high - low) * int.from_bytes(os.urandom(6)) / (1 << 48)


class SystemSleeper:
    """Real sleep."""

    def sleep(self, seconds: float) -> None:
        """Sleep; a signal handler that raises ends it early."""
        if seconds > 0:
            time.sleep(seconds)


def real_system() -> System:
    """Return this machine's clock, randomness and sleep."""
    return System(SystemClock(), SystemEntropy(), SystemSleeper())
