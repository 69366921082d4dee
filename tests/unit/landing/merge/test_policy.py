"""The policy: which strategies are tried at a path, and its life as JSON."""

from __future__ import annotations

import json

import pytest

from gitref_lock.landing.merge.policy import Policy, PolicyError, Rule, parse_rules


@pytest.mark.parametrize(
    ("path", "specs"),
    [
        (b"data/x.json", ("json", "text")),
        (b"x.json", ("json", "text")),
        (b"log.jsonl", ("text", "lines")),
        (b"table.csv", ("text", "lines")),
        (b"data/x.bin", ("text", "ours")),
        (b"other/data/x.bin", ("text", "theirs")),
        (b"src/a.py", ("text", "theirs")),
    ],
)
def test_built_in_strategies(path: bytes, specs: tuple[str, ...]) -> None:
    """Without rules, data is merged by its structure, and a side wins the rest."""
    assert Policy().specs(path) == specs


def test_the_first_rule_that_matches_decides_alone() -> None:
    """A rule replaces everything built in for its paths."""
    policy = Policy(parse_rules(["data/keep/**=theirs", "data/**=union", "*.json = json:numbers=sum"]))

    assert policy.specs(b"data/keep/x") == ("theirs",)
    assert policy.specs(b"data/x.json") == ("union",)
    assert policy.specs(b"x.json") == ("json:numbers=sum",)
    assert policy.specs(b"y") == ("text", "theirs")


@pytest.mark.parametrize(
    ("attribute", "specs"),
    [
        ("union", ("union",)),
        ("binary", ("ours",)),
        ("unset", ("ours",)),
        ("-merge", ("ours",)),
        ("text", ("text", "ours")),
        ("set", ("text", "ours")),
        ("driver:mine", ("driver:mine",)),
        (None, ("text", "ours")),
    ],
)
def test_attributes_rank_between_rules_and_built_in(attribute: str | None, specs: tuple[str, ...]) -> None:
    """A merge attribute decides where no rule does."""
    policy = Policy((Rule("ruled", "fail"),), attributes=lambda _path: attribute)

    assert policy.specs(b"data/x") == specs
    assert policy.specs(b"ruled") == ("fail",)


def test_an_unknown_attribute_is_refused() -> None:
    """An attribute that the caller did not translate is an error, not the default."""
    with pytest.raises(PolicyError, match="mine"):
        Policy(attributes=lambda _path: "mine").specs(b"x")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("nothing", "GLOB=STRATEGY"),
        ("=ours", "empty"),
        ("a[b=ours", "GLOB=STRATEGY"),
        ("x=", "unknown strategy ''"),
        ("x=magic", "unknown strategy 'magic'"),
        ("x=ours:now", "unknown option 'now'"),
        ("x=json:arrays", "arrays is"),
        ("x=json:numbers=min", "last, sum, max"),
        ("x=json:numbers=sum,numbers=max", "twice"),
        ("x=lines:sort=up", "takes no value"),
        ("x=regenerate", "which command"),
        ("x=driver:", "which driver"),
    ],
)
def test_malformed_rules_say_what_is_wrong(rule: str, words: str) -> None:
    """A rule that cannot be carried out is refused when it is read."""
    with pytest.raises(PolicyError, match=words.replace("(", "\\(")):
        parse_rules([rule])


def test_a_bracket_may_hold_the_separator() -> None:
    """A path with an equals sign can be ruled."""
    assert parse_rules(["a[=]b=ours"])[0].glob == "a[=]b"


def test_policies_travel_as_json() -> None:
    """What is written as JSON reads back as the same policy."""
    policy = Policy(
        parse_rules(["*.json=json:arrays=id,numbers=sum", "**=theirs"]), "Landed-by", attributes=lambda _path: None
    )

    assert Policy.from_json(json.loads(json.dumps(policy.to_json()))) == policy
    assert Policy.from_json({"rules": [], "later": 1}) == Policy()


def test_local_commands_do_not_travel() -> None:
    """A command runs only where its user wrote it, in neither direction."""
    policy = Policy(parse_rules(["*.lock=regenerate:make lock"]))

    assert not policy.is_declarative
    with pytest.raises(PolicyError, match="cannot travel"):
        policy.to_json()
    with pytest.raises(PolicyError, match="must not name a command"):
        Policy.from_json({"rules": [["*.lock", "regenerate:curl evil"]]})


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        "rules",
        {},
        {"rules": None},
        {"rules": {"a": "ours"}},
        {"rules": ["a=ours"]},
        {"rules": [["a"]]},
        {"rules": [["a", "ours", "x"]]},
        {"rules": [["a", 1]]},
        {"rules": [[None, "ours"]]},
        {"rules": [["", "ours"]]},
        {"rules": [["a", "magic"]]},
        {"rules": [["a" * 1001, "ours"]]},
        {"rules": [["a", "ours"]] * 1001},
        {"rules": [], "trailer": 1},
        {"rules": [], "trailer": "Landed-by: me\n\nbody"},
        {"rules": [], "trailer": "L" * 61},
    ],
)
def test_hostile_json_is_refused(data: object) -> None:
    """Anything that is not a policy raises the one typed error."""
    with pytest.raises(PolicyError):
        Policy.from_json(data)
