"""RefStore adapters: smart HTTP, local paths, ``git://`` and ssh, each a thin transport under one shared judgement."""

from __future__ import annotations

from gitref_lock.ports import RefStore, System
from gitref_lock.remotes.settings import RemoteSpec


def open_store(spec: RemoteSpec, system: System) -> RefStore:
    """Return the store for ``spec``; nothing is opened before its first call. RemoteError for an unusable address."""
    # Late imports: a command over HTTP does not pay for processes, nor the other way round.
    if spec.scheme == "http":
        from gitref_lock.remotes.http import HttpStore

        return HttpStore(spec, system)
    if spec.scheme == "ssh":
        from gitref_lock.remotes.ssh import SshStore

        return SshStore(spec, system)
    from gitref_lock.remotes.process import GitDaemonStore, PathStore

    return PathStore(spec, system) if spec.scheme == "path" else GitDaemonStore(spec, system)
