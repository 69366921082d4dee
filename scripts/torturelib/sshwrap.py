"""The ssh of a tortured process: real ssh that kills or stops its caller, or breaks the connection, when told to.

Which conversation of which service is meant, and what is to happen, stands in the job's ``orders.json``. It starts
without anything else of this project, because each connection pays for its start.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_CHUNK = 1 << 16
_REFUSED = 255


class Order:
    """What is to happen to one conversation: a blow for the caller, or a fault of the connection."""

    def __init__(self, job: Path, what: dict[str, Any]) -> None:
        """Read one entry of ``orders.json``."""
        self.when: str = what["when"]
        self.sign: str = what.get("sign", "")
        self._job = job
        self._stop_s: float = what["stop_s"]
        self.is_done = False

    def carry_out(self) -> bool:
        """Do it, and leave a trace; tell whether the caller hears nothing any more."""
        self.is_done = True
        if self.sign:
            self._strike()
            return self.sign == "KILL"
        (self._job / f"fault-{self.when}").touch()
        if self.when == "stall":
            time.sleep(self._stop_s)
            return False
        return True

    def _strike(self) -> None:
        """Send the caller its signal; what is stopped is continued by a process of its own."""
        caller = int(os.environ["TORTURE_PID"])
        (self._job / "hit").touch()
        os.kill(caller, getattr(signal, f"SIG{self.sign}"))
        if self.sign == "STOP" and os.fork() == 0:
            os.setsid()
            os.closerange(0, 256)
            time.sleep(self._stop_s)
            os.kill(caller, signal.SIGCONT)
            os._exit(0)


def order_for(job: Path, service: str) -> Order | None:
    """Return what is to happen to this conversation; two that begin at once get different numbers."""
    number = 1
    while True:
        try:
            (job / f"{service}-{number}").touch(exist_ok=False)
            break
        except FileExistsError:
            number += 1
    orders = json.loads((job / "orders.json").read_text(encoding="utf-8"))
    found = next((item for item in orders if (item["place"], item["nth"]) == (service, number)), None)
    return Order(job, found) if found is not None else None


def relay(words: list[str], order: Order) -> int:
    """Be ssh, and act once the request has been passed on, or once its answer has come."""
    child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    is_sent = is_deaf = False
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            ready = [key.fd for key, _ in selector.select()]
            if 0 in ready:
                data = os.read(0, _CHUNK)
                with contextlib.suppress(BrokenPipeError):
                    os.write(child.stdin.fileno(), data) if data else child.stdin.close()
                if not data:
                    selector.unregister(0)
                elif order.when == "meanwhile" and not order.is_done:
                    is_deaf = order.carry_out()
                is_sent = True
            if len(ready) > (0 in ready):
                data = os.read(child.stdout.fileno(), _CHUNK)
                if not data:
                    return child.wait()
                if is_sent and order.when != "meanwhile" and not order.is_done:
                    is_deaf = order.carry_out()
                    if is_deaf and not order.sign:
                        child.kill()  # the work is done; only our end lets the caller know that nothing comes
                        return _REFUSED
                if not is_deaf:
                    is_deaf = not written(data)


def written(data: bytes) -> bool:
    """Hand the answer to the caller; False when it is gone."""
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        return False
    return True


def main() -> int:
    """Be ssh."""
    words = [*json.loads(os.environ["TORTURE_SSH"]), *sys.argv[1:]]
    order = order_for(Path(os.environ["TORTURE_JOB"]), sys.argv[-1].split(" ")[0])
    if order is not None and order.when in {"before", "drop-before"} and order.carry_out():
        return _REFUSED
    if order is None or order.is_done:
        os.execvp(words[0], words)
    return relay(words, order)


if __name__ == "__main__":
    sys.exit(main())
