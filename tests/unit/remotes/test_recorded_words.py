"""What real servers said when they refused, byte for byte, and what it is taken for.

tests/realservers/test_refusals.py brings the same cases about on the servers themselves, and records them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gitref_lock.core.refs import RefusalKind, Refused, in_sending_order
from gitref_lock.remotes import pktline, wire
from gitref_lock.remotes.child import code_for
from gitref_lock.remotes.http import _refused_by_status
from gitref_lock.remotes.http1 import Reply
from gitref_lock.remotes.words import kind_of, kind_of_error, may_be_a_lost_race
from tests.realservers.cases import CASES, Case

DATA = Path(__file__).resolve().parents[2] / "data" / "transcripts"


def recorded() -> list[tuple[Path, Case]]:
    """Return every recorded answer with the case that it belongs to."""
    found = []
    for path in sorted(DATA.glob("*/*.body")):
        server = max((name for name in CASES if path.parent.name.startswith(f"{name}-")), key=len)
        case = CASES[server].get(path.stem)
        if case is not None:
            found.append((path, case))
    return found


RECORDED = recorded()


def name_of(value: object) -> str:
    """Name a case by server and refusal."""
    return f"{value.parent.name}/{value.stem}" if isinstance(value, Path) else ""


def test_every_server_is_recorded() -> None:
    """There is at least one answer of each server that is asked to refuse."""
    folders = {path.parent.name for path, _ in RECORDED}
    assert all(any(folder.startswith(f"{server}-") for folder in folders) for server in CASES)
    assert len(RECORDED) > 25


@pytest.mark.parametrize(("path", "case"), RECORDED, ids=name_of)
def test_a_real_refusal_has_its_kind(path: Path, case: Case) -> None:
    """The words of a refusal for good give its kind; those of a lost race give none, or one that a read overrules."""
    body, status, errors = path.read_bytes(), path.with_suffix(".status"), path.with_suffix(".stderr")
    if status.exists() and not status.read_text().startswith("200 "):
        code, _, reason = status.read_text().strip().partition(" ")
        outcome = _refused_by_status(Reply(int(code), reason, {"content-type": "text/html"}, body, keep_alive=False))
        assert isinstance(outcome, Refused)
        assert outcome.kind is case.kind
        return
    if errors.exists():
        assert case.kind is not None
        assert code_for(errors.read_text()) == case.kind.value
        return
    edits = in_sending_order(case.edits)
    if body[4:8] == b"ERR ":
        with pytest.raises(pktline.ServerSaidError) as caught:
            wire.parse_report(pktline.packets_of(body), edits)
        assert kind_of_error(str(caught.value)) is case.kind
        return
    report = wire.parse_report(pktline.packets_of(body), edits)
    assert None not in report.statuses.values()
    kind = kind_of(report)
    if case.kind is None:
        assert kind is None or may_be_a_lost_race(kind, report)
    elif case.kind is RefusalKind.NAME_COLLISION:
        assert kind in {case.kind, None}  # JGit says "failed to lock"; a listing finds the ref in the way
    else:
        assert kind is case.kind
