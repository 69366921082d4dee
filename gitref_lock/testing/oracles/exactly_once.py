"""Each push that reported success is in the branch exactly once; each that failed is not there and never will be.

Only "unknown" and a crash leave it open, and then at most once (docs/protocol.md, section 0).
"""

from __future__ import annotations

import json

from gitref_lock.testing.sim_history import MIRROR, History, PushResult

_OPEN = frozenset({"unknown", "crashed", "running"})


def violations(history: History) -> list[str]:
    """Return every lie of an exit code, every double landing, and content that does not fit the commits."""
    values = [(event, history.changes_in(move.after)) for event, move in history.moves(history.branch)]
    found = []
    for event, names in values:
        if len(set(names)) != len(names):
            double = sorted({name for name in names if names.count(name) > 1})
            found.append(f"the branch holds {', '.join(double)} twice since {event.at_s:.3f} s")
            break
    # An old mirror brings withdrawn tickets back: the protocol promises nothing then.
    for push in history.pushes if not history.has(MIRROR) else ():
        found += _lies(push, [(event.at_s, push.change in names) for event, names in values])
    if values and not found:
        found += _content(history, values[-1][1])
    return found


def _lies(push: PushResult, seen: list[tuple[float, bool]]) -> list[str]:
    """Return what is wrong about one push's result, given since when the branch held it or not."""
    if push.result in _OPEN:
        return []
    if push.result == "landed":
        if any(is_in and at_s <= push.ended_s for at_s, is_in in seen):
            return []
        return [f"{push.change} reported success at {push.ended_s:.3f} s, but the branch never held it"]
    before = [is_in for at_s, is_in in seen if at_s <= push.ended_s]
    if before and before[-1]:
        return [f"{push.change} failed ({push.result}) at {push.ended_s:.3f} s, but the branch holds it"]
    later_s = next((at_s for at_s, is_in in seen if is_in and at_s > push.ended_s), None)
    if later_s is None or any(before):
        return []  # what a person took out of the branch may come back with the history of somebody else's clone
    return [f"{push.change} failed ({push.result}) at {push.ended_s:.3f} s, and landed at {later_s:.3f} s"]


def _content(history: History, names: tuple[str, ...]) -> list[str]:
    """Compare the branch's files with its commits: every change that is in its history is in its content, once."""
    tip = next((move.after for _, move in reversed(list(history.moves(history.branch)))), None)
    if tip is None:
        return []
    files = history.files(tip)
    keys = set(json.loads(files.get("state.json", b"{}")))
    lines = [json.loads(line)["id"] for line in files.get("log.jsonl", b"").splitlines() if line.strip()]
    found = []
    known = set(names)
    for name in names:
        if name.endswith("-json") and name not in keys:
            found.append(f"{name} is in the history of the branch, but its key is not in the file")
        if name.endswith("-lines") and lines.count(name) != 1:
            found.append(f"{name} is in the history of the branch, but {lines.count(name)} times in the file")
        if name.endswith("-own") and f"own-{name}.txt" not in files:
            found.append(f"{name} is in the history of the branch, but its file is not there")
    found += [
        f"{name} is in the file without its commit" for name in sorted(keys | set(lines)) if _is_alien(name, known)
    ]
    return found


def _is_alien(name: str, known: set[str]) -> bool:
    return name.endswith(("-json", "-lines")) and name not in known
