"""Which strategy decides a path that both sides changed: the user's rules first, then what is built in.

A policy without local commands is data: it travels in a land ticket to the runner that lands our change for us, so its
JSON is read as a stranger's (docs/protocol.md, sections 7 and 8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import field
from typing import TYPE_CHECKING, TypeGuard

from gitref_lock.core.lean import dataclass
from gitref_lock.core.text import JsonObject, JsonValue
from gitref_lock.landing.merge.globs import GlobError, compile_glob, matches
from gitref_lock.landing.strategies.base import Runner, Strategy, StrategySpecError
from gitref_lock.landing.strategies.registry import strategy_for

if TYPE_CHECKING:
    from gitref_lock.landing.merge.allowance import Allowance

_MAX_RULES = 1000
_TRAILER_KEY = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,59}")
_MAX_TEXT = 1000
_KEEPS_GIT = ("text", "set")
_SIDES = ("ours", "theirs")
_NEVER_BY_LINES = ("binary", "unset", "-merge")


class PolicyError(ValueError):
    """A merge policy is malformed; the text says where."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Paths that match ``glob`` are united by the strategy that ``spec`` names."""

    glob: str
    spec: str

    def __post_init__(self) -> None:
        """Refuse a glob or a strategy that cannot be used, at once instead of at the first conflict."""
        try:
            compile_glob(self.glob)
            strategy_for(self.spec)
        except (GlobError, StrategySpecError) as error:
            raise PolicyError(f"rule {self.glob}={self.spec}: {error}") from error


@dataclass(frozen=True, slots=True)
class Policy:
    """Ordered rules; the first that matches a path decides.

    ``attributes`` answers the ``merge`` attribute of a path (gitattributes(5)): ``union``, ``binary``, ``unset`` (or
    ``-merge``), ``text``, ``set``, ``driver:NAME`` for a driver that git's configuration defines, or None. It ranks
    after the rules and before what is built in. ``runner`` runs local commands. Neither travels. ``trailer`` is the key
    under which another runner that lands the change names itself in its copy, '' for no such line. ``allowance`` bounds
    what is merged for somebody else; None, for changes of one's own, bounds nothing.
    """

    rules: tuple[Rule, ...] = ()
    trailer: str = ""
    attributes: Callable[[bytes], str | None] | None = field(default=None, repr=False, compare=False)
    runner: Runner | None = field(default=None, repr=False, compare=False)
    allowance: Allowance | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Check the trailer's key; raise PolicyError."""
        if self.trailer and not _TRAILER_KEY.fullmatch(self.trailer):
            raise PolicyError(f"not the key of a trailer: {self.trailer[:40]!r}")

    @property
    def is_declarative(self) -> bool:
        """Whether every rule yields the same result on any machine."""
        return all(strategy_for(rule.spec).is_declarative for rule in self.rules)

    def plan(self, path: bytes) -> tuple[Strategy, ...]:
        """Return the strategies to try at ``path``, in order; when the last one fails the path is a conflict."""
        plan = (strategy_for(spec, self.runner) for spec in self.specs(path))
        return tuple(self.allowance.metered(one) if self.allowance is not None else one for one in plan)

    def specs(self, path: bytes) -> tuple[str, ...]:
        """Return the specs that ``plan`` would try."""
        for rule in self.rules:
            if matches(rule.glob, path):
                return (rule.spec,)
        attribute = self.attributes(path) if self.attributes is not None else None
        if attribute in _NEVER_BY_LINES:
            return _whole_file(path)
        if attribute is not None and attribute not in _KEEPS_GIT:
            if attribute == "union" or attribute.startswith("driver:"):
                return (attribute,)
            raise PolicyError(f"merge attribute {attribute!r} is not one this policy can carry out")
        return _built_in(path)

    def side(self, path: bytes) -> str | None:
        """Return which side wins whole where there is no content to merge: ``ours``, ``theirs``, or None for nobody.

        That is so for files against directories, symlinks, submodules, and renames that clash.
        """
        return next((spec for spec in self.specs(path) if spec in _SIDES), None)

    def is_strict(self, path: bytes) -> bool:
        """Tell whether a rule asks that ``path`` is never decided beyond what git would merge."""
        return self.specs(path) in {("text",), ("fail",)}

    def to_json(self) -> JsonObject:
        """Return the policy as plain JSON data; raise PolicyError when a rule needs a command of this machine."""
        for rule in self.rules:
            if not strategy_for(rule.spec).is_declarative:
                raise PolicyError(f"rule {rule.glob}={rule.spec}: it needs a command of this machine and cannot travel")
        rules: list[JsonValue] = [[rule.glob, rule.spec] for rule in self.rules]
        return {"rules": rules, **({"trailer": self.trailer} if self.trailer else {})}

    @classmethod
    def from_json(cls, data: object) -> Policy:
        """Read what ``to_json`` wrote; raise PolicyError for anything else. Unknown keys are ignored."""
        rules, trailer = (data.get("rules"), data.get("trailer", "")) if isinstance(data, dict) else (None, "")
        if not isinstance(rules, list):
            raise PolicyError("a policy is an object with a list of rules")
        if len(rules) > _MAX_RULES:
            raise PolicyError(f"a policy has at most {_MAX_RULES} rules, not {len(rules)}")
        if not isinstance(trailer, str):
            raise PolicyError("the key of a trailer is a text")
        policy = cls(tuple(_read_rule(index, rule) for index, rule in enumerate(rules)), trailer)
        if not policy.is_declarative:
            raise PolicyError("a policy from elsewhere must not name a command")
        return policy


def parse_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Read rules as people write them, ``GLOB=STRATEGY[:OPTIONS]``; raise PolicyError for a malformed one.

    The glob ends at the first ``=``; write ``[=]`` for one in a path.
    """
    rules: list[Rule] = []
    for text in texts:
        glob, spec = _split_rule(text)
        rules.append(Rule(glob, spec))
    return tuple(rules)


def _split_rule(text: str) -> tuple[str, str]:
    """Cut a rule at the first ``=`` that is not in brackets."""
    in_bracket = False
    for index, char in enumerate(text):
        if char == "[":
            in_bracket = True
        elif char == "]":
            in_bracket = False
        elif char == "=" and not in_bracket:
            return text[:index].strip(), text[index + 1 :].strip()
    raise PolicyError(f"rule {text!r}: write GLOB=STRATEGY")


def _read_rule(index: int, rule: object) -> Rule:
    """Read one rule of a stranger's policy."""
    if not (isinstance(rule, list) and len(rule) == 2 and _are_texts(rule)):
        raise PolicyError(f"rule {index}: a rule is a pair of texts of at most {_MAX_TEXT} characters")
    return Rule(rule[0], rule[1])


def _are_texts(values: list[object]) -> TypeGuard[list[str]]:
    return all(isinstance(value, str) and len(value) <= _MAX_TEXT for value in values)


def _whole_file(path: bytes) -> tuple[str, ...]:
    """What is built in for a path whose lines must not be merged."""
    return ("ours",) if path.startswith(b"data/") else ("theirs",)


def _built_in(path: bytes) -> tuple[str, ...]:
    """What is built in: data is merged by its structure, else ours wins in ``data/``, and theirs elsewhere."""
    if path.endswith(b".json"):
        return ("json", "text")
    if path.endswith((b".jsonl", b".csv")):
        return ("text", "lines")
    return ("text", *_whole_file(path))
