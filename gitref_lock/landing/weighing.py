"""A sink for what strangers have posted: weighed before it is unpacked, and never a crash.

A pack of a hundred kilobytes may inflate to gigabytes, and its objects need not be what they claim to be.
"""

from __future__ import annotations

from gitref_lock.core.lean import dataclass
from gitref_lock.landing.object_store import StoreSink
from gitref_lock.ports import RemoteError
from gitref_lock.remotes.packs import PackError, PackTooLargeError, weigh_pack


@dataclass(slots=True)
class WeighedSink(StoreSink):
    """Stores packs whose objects together have at most ``max_bytes``; ``weight`` is what they had."""

    max_bytes: int = 0
    weight: int = 0

    def add_pack_bytes(self, pack: bytes, *, promisor: bool) -> None:
        """Store a pack; raise RemoteError ``too-large`` or ``protocol`` for one that is not wanted."""
        try:
            self.weight += weigh_pack(pack, max_total_bytes=self.max_bytes)
            StoreSink.add_pack_bytes(self, pack, promisor=promisor)
        except PackTooLargeError as error:
            raise RemoteError("too-large", str(error)) from error
        except PackError as error:
            raise RemoteError("protocol", f"objects that cannot be stored: {error}") from error
