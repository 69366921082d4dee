"""What one clone remembers between commands: its lease tokens, and since when it has seen other people's locks.

A lease file is written with its planned token before the swap that would create the lease is sent, so that a run that
was killed in between still knows its own lock. It names the CI job that wrote it: a token found by another job proves
nothing to that job (docs/protocol.md, sections 3 and 4). Every file has mode 0600 and is replaced atomically.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import field
from pathlib import Path

from gitref_lock.core.clocks import ClockReading, ServerClock, ServerDate
from gitref_lock.core.expiry import Observation
from gitref_lock.core.history import Ring
from gitref_lock.core.lean import dataclass
from gitref_lock.core.machine import LockState
from gitref_lock.core.names import InvalidNameError, LockName, Nonce, is_nonce, lock_name, oid
from gitref_lock.core.record import LockRecord, decode_record
from gitref_lock.core.text import Fields, JsonObject, MalformedError, parse_object, render_object
from gitref_lock.core.timing import LeaseTiming, TimingError
from gitref_lock.ports import Clock

SCHEMA = 1
FOLDER = "gitref-lock"
OBSERVATIONS = "observations.json"
_LIMIT = 1_000_000
_MAX_SECONDS = 1e12
_SUSPENDED_S = 1.0


@dataclass(frozen=True, slots=True)
class Writer:
    """Who wrote a lease file. ``job`` tells CI jobs apart, ``session`` and ``folder`` processes outside CI as well."""

    job: Mapping[str, str] = field(default_factory=dict)
    session: str = ""
    folder: str = ""

    def may_adopt(self, other: Writer) -> bool:
        """Tell whether ``acquire`` may take a lease of ``other`` for its own: everything agrees."""
        return self == other

    def may_end(self, other: Writer) -> bool:
        """Tell whether ``release`` and ``renew`` may use a lease of ``other``: the same CI job, from any folder."""
        return self.job == other.job

    def may_land_under(self, other: Writer) -> bool:
        """Tell whether ``push`` may land under a lease of ``other``: outside CI another session is somebody else."""
        return self.job == other.job and (bool(self.job) or self.session == other.session)


@dataclass(frozen=True, slots=True)
class StoredLease:
    """One lock's part of a lease, as last written by this clone; ``sent`` are the clocks before the first sending."""

    remote: str
    lock: LockName
    token: Nonce
    writer: Writer
    timing: LeaseTiming
    state: LockState
    boot_id: str
    sent: ClockReading
    clock: ServerClock = field(default_factory=ServerClock)

    def encode(self) -> bytes:
        """Return the file's bytes."""
        record = self.state.record
        date = self.clock.dates[-1] if self.clock.dates else None
        value: JsonObject = {
            "schema": SCHEMA,
            "remote": self.remote,
            "lock": self.lock,
            "token": self.token,
            "job": dict(self.writer.job),
            "session": self.writer.session,
            "folder": self.writer.folder,
            "ttl_s": self.timing.ttl_s,
            "kill_after_s": self.timing.kill_after_s,
            "margin_s": self.timing.margin_s,
            "renew_interval_s": self.timing.renew_interval_s,
            "boot_id": self.boot_id,
            "monotonic_s": self.sent.monotonic_s,
            "boottime_s": self.sent.boottime_s,
            "wall_s": self.sent.wall_s,
            "date": _date_json(date) if date is not None and self.clock.is_consistent else None,
            "tip": self.state.tip,
            "record": record.encode().decode() if isinstance(record, LockRecord) else "",
            "history": self.state.ring.encode().decode(),
        }
        return render_object(value)

    @classmethod
    def decode(cls, data: bytes) -> StoredLease:
        """Read a lease file; raise MalformedError, or ValueError for names and durations that cannot be."""
        fields = Fields(parse_object(data, limit=_LIMIT))
        if fields.integer("schema", 1, 2**31) != SCHEMA:
            raise MalformedError("written by another version")
        token = fields.text("token", required=True)
        lock = lock_name(fields.text("lock", required=True))
        record = decode_record(fields.text("record", required=True, limit=_LIMIT).encode(), lock)
        if not is_nonce(token) or not isinstance(record, LockRecord):
            raise MalformedError("token or record cannot be read")
        date = fields.child("date")
        job = fields.child("job")
        return cls(
            remote=fields.text("remote", required=True, limit=4000),
            lock=lock,
            token=Nonce(token),
            writer=Writer(
                {key: str(text) for key, text in (job.rest if job is not None else {}).items()},
                fields.text("session"),
                fields.text("folder", limit=8000),
            ),
            timing=LeaseTiming(
                fields.number("ttl_s", 0, _MAX_SECONDS),
                fields.number("kill_after_s", 0, _MAX_SECONDS),
                fields.number("margin_s", 0, _MAX_SECONDS),
                fields.number("renew_interval_s", 0, _MAX_SECONDS),
            ),
            state=LockState(
                oid(fields.text("tip", required=True)),
                record,
                Ring.decode(fields.text("history", limit=_LIMIT).encode()),
            ),
            boot_id=fields.text("boot_id"),
            sent=ClockReading(
                fields.number("monotonic_s", 0, _MAX_SECONDS),
                fields.number("boottime_s", 0, _MAX_SECONDS),
                fields.number("wall_s", 0, _MAX_SECONDS),
            ),
            clock=ServerClock((_date(date),)) if date is not None else ServerClock(),
        )

    def sent_by(self, now: ClockReading, boot_id: str) -> ClockReading:
        """Return ``sent`` on this boot's clocks: after a restart only the wall clock knows what has passed."""
        if boot_id == self.boot_id:
            return self.sent
        passed = max(0.0, now.wall_s - self.sent.wall_s)
        return ClockReading(now.monotonic_s - passed, now.boottime_s - passed, self.sent.wall_s)

    def clock_by(self, now: ClockReading, boot_id: str) -> ServerClock:
        """Return the server's clock as this file knows it; nothing after a restart or a suspend."""
        steady = now.monotonic_s - self.sent.monotonic_s
        slept = now.boottime_s - self.sent.boottime_s - steady
        return self.clock if boot_id == self.boot_id and steady >= 0 and slept < _SUSPENDED_S else ServerClock()


@dataclass(frozen=True, slots=True)
class Memory:
    """The folder of one clone's lease files and observations; ``folder`` None remembers nothing."""

    folder: Path | None

    def read(self, remote: str, lock: LockName) -> StoredLease | None:
        """Return the stored lease of a lock, None when there is none or it cannot be read."""
        if self.folder is None:
            return None
        try:
            stored = StoredLease.decode(self._path(self.folder, remote, lock).read_bytes())
        except (OSError, MalformedError, InvalidNameError, TimingError):
            return None
        return stored if (stored.remote, stored.lock) == (remote, lock) else None

    def write(self, leases: Iterable[StoredLease]) -> OSError | None:
        """Store leases; return what prevented it, None when all is written."""
        try:
            for lease in leases:
                if self.folder is not None:
                    _replace(self._path(self.folder, lease.remote, lease.lock), lease.encode())
        except OSError as error:
            return error
        return None

    def forget(self, remote: str, lock: LockName, token: Nonce | None = None) -> None:
        """Remove the stored lease of a lock, with a token only if it is that one; what cannot be removed stays."""
        stored = self.read(remote, lock)
        if self.folder is None or stored is None or (token is not None and stored.token != token):
            return
        try:
            self._path(self.folder, remote, lock).unlink()
        except OSError:
            return

    def observations(self, remote: str, clock: Clock) -> dict[LockName, Observation]:
        """Return since when this clone has seen each lock's tip, for the same boot of this machine only.

        What counts between two commands is the least that any clock shows: a tip that is the same again was so all
        the time, since no state is ever written twice.
        """
        found: dict[LockName, Observation] = {}
        now_s, now_wall_s = clock.monotonic(), clock.wall()
        for name, fields in self._seen(remote, clock.boot_id()):
            try:
                since_s = fields.number("monotonic_s", 0, _MAX_SECONDS)
                wall_s = fields.number("wall_s", 0, _MAX_SECONDS)
                tip = oid(fields.text("tip", required=True))
                name = lock_name(name)  # noqa: PLW2901 - the checked name replaces the raw one
            except (MalformedError, InvalidNameError):
                continue
            found[name] = Observation(tip, now_s, max(0.0, min(now_s - since_s, now_wall_s - wall_s)))
        return found

    def observe(self, remote: str, observations: Mapping[LockName, Observation], clock: Clock) -> None:
        """Store what is known of these locks beside what is stored of others; failures do not matter."""
        if self.folder is None or not observations or not clock.boot_id():
            return
        now_s, now_wall_s = clock.monotonic(), clock.wall()
        seen: JsonObject = {name: fields.rest for name, fields in self._seen(remote, clock.boot_id())}
        for name, observation in observations.items():
            age_s = observation.seen_for_s(now_s)
            seen[name] = {
                "tip": observation.tip,
                "monotonic_s": max(0.0, now_s - age_s),
                "wall_s": max(0.0, now_wall_s - age_s),
            }
        remotes = {**self._stored_remotes(clock.boot_id()), remote: seen}
        try:
            _replace(self.folder / OBSERVATIONS, render_object({"boot_id": clock.boot_id(), "remotes": remotes}))
        except OSError:
            return

    def _stored_remotes(self, boot_id: str) -> JsonObject:
        if self.folder is None or not boot_id:
            return {}
        try:
            fields = Fields(parse_object((self.folder / OBSERVATIONS).read_bytes(), limit=_LIMIT))
            remotes = fields.child("remotes")
            return dict(remotes.rest) if remotes is not None and fields.text("boot_id") == boot_id else {}
        except (OSError, MalformedError):
            return {}

    def _seen(self, remote: str, boot_id: str) -> list[tuple[str, Fields]]:
        stored = self._stored_remotes(boot_id).get(remote)
        if not isinstance(stored, dict):
            return []
        return [(name, Fields(dict(value))) for name, value in stored.items() if isinstance(value, dict)]

    @staticmethod
    def _path(folder: Path, remote: str, lock: LockName) -> Path:
        digest = hashlib.sha256(json.dumps([remote, lock]).encode()).hexdigest()[:20]
        return folder / f"lease-{digest}.json"


def state_folder(git_dir: Path | None, environ: Mapping[str, str], temp_dir: str) -> Path | None:
    """Return where this clone or job remembers: the git directory, else the CI's temp or the user's state directory.

    None when there is no such place: a folder that others could have made is never used.
    """
    if git_dir is not None:
        return git_dir / FOLDER
    if temp_dir:
        return Path(temp_dir) / FOLDER
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state:
        return Path(state) / FOLDER
    return Path(home) / ".local" / "state" / FOLDER if home else None


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    scratch = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _date_json(date: ServerDate) -> JsonObject:
    return {"date_s": date.date_s, "sent_s": date.sent_s, "received_s": date.received_s}


def _date(fields: Fields) -> ServerDate:
    return ServerDate(
        fields.integer("date_s", 0, 2**40),
        fields.number("sent_s", 0, _MAX_SECONDS),
        fields.number("received_s", 0, _MAX_SECONDS),
    )
