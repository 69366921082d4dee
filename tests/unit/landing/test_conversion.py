"""Line ends, attributes and ignore rules on generated input, judged by the real git."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gitref_lock.landing.attributes import Attributes
from gitref_lock.landing.checkout import Checkout
from gitref_lock.landing.convert import Converter
from gitref_lock.landing.errors import NeedsGitError
from gitref_lock.landing.ignore import Ignores
from gitref_lock.landing.sparse import SparseRules
from gitref_lock.landing.worktree import WorkTree
from tests.support.clones import open_checkout, write
from tests.support.gitcli import git, git_result

PIECES = st.sampled_from(
    [b"a", b"word ", b"\r", b"\n", b"\r\n", b"\0", b"\x01", b"\x1a", b"\x1b", b"\x7f", b"\xe9" * 3]
)
CONTENT = st.one_of(
    st.lists(PIECES, max_size=12).map(b"".join),
    st.lists(PIECES, max_size=6).map(lambda parts: b"x" * 130 + b"".join(parts) + b"y" * 130),
)
ATTRIBUTES = st.sampled_from(
    ["", "f text", "f -text", "f text=auto", "f eol=crlf", "f eol=lf", "f text=auto eol=crlf", "f text=auto eol=lf",
     "f crlf", "f -crlf", "f crlf=input", "f text eol=crlf", "f -text eol=crlf", "f binary", "f !text", "f text=other"]
)  # fmt: skip
AUTOCRLF = st.sampled_from(["", "true", "input", "false"])
EOL = st.sampled_from(["", "lf", "crlf", "native"])
NO_FIXTURE_WARNING = [HealthCheck.function_scoped_fixture]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository that the examples reuse."""
    path = tmp_path_factory.mktemp("conversion") / "repo"
    git("init", "-q", path, cwd=path.parent)
    return path


def environment(**values: str) -> dict[str, str]:
    """Return settings as GIT_CONFIG_COUNT variables."""
    given_values = {key.replace("_", "."): value for key, value in values.items() if value}
    pairs = {"GIT_CONFIG_COUNT": str(len(given_values))}
    for number, (key, value) in enumerate(given_values.items()):
        pairs[f"GIT_CONFIG_KEY_{number}"] = key
        pairs[f"GIT_CONFIG_VALUE_{number}"] = value
    return pairs


def parts(checkout: Checkout) -> tuple[Attributes, WorkTree]:
    """Return fresh attributes and work tree."""
    tree = WorkTree(checkout.work_tree)
    return Attributes(checkout, checkout.read_index(), tree), tree


@settings(max_examples=60, deadline=None, suppress_health_check=NO_FIXTURE_WARNING)
@given(content=CONTENT, indexed=st.none() | CONTENT, attributes=ATTRIBUTES, autocrlf=AUTOCRLF, eol=EOL)
@example(content=b"a\r\n", indexed=b"b\r\n", attributes="f text=auto", autocrlf="", eol="")
def test_the_blob_is_gits(
    root: Path, content: bytes, indexed: bytes | None, attributes: str, autocrlf: str, eol: str
) -> None:
    """Whatever the content, attributes and settings, the blob for a file is the one `git add` stores."""
    write(root, ".gitattributes", "")
    git("rm", "-q", "-f", "--cached", "--ignore-unmatch", "f", cwd=root)
    known = None
    if indexed is not None:
        known = git("hash-object", "-w", "--no-filters", "--stdin", cwd=root, stdin=indexed)
        git("update-index", "--add", "--cacheinfo", f"100644,{known},f", cwd=root)
    write(root, ".gitattributes", attributes + "\n")
    write(root, "f", content)
    extra = environment(core_autocrlf=autocrlf, core_eol=eol)
    with open_checkout(root, extra) as checkout:
        converter = Converter(checkout, parts(checkout)[0])
        ours = converter.to_git(b"f", content, known.encode() if known else None)
    done = git_result("add", "--", "f", cwd=root, env=extra)
    assert done.returncode == 0, done.stderr
    blob = git_result("cat-file", "blob", ":f", cwd=root).stdout
    assert ours == blob


@settings(max_examples=60, deadline=None, suppress_health_check=NO_FIXTURE_WARNING)
@given(content=CONTENT, attributes=ATTRIBUTES, autocrlf=AUTOCRLF, eol=EOL)
def test_the_file_is_gits(root: Path, content: bytes, attributes: str, autocrlf: str, eol: str) -> None:
    """Whatever the blob, the file that a landing writes is the one a checkout writes."""
    write(root, ".gitattributes", attributes + "\n")
    blob = git("hash-object", "-w", "--no-filters", "--stdin", cwd=root, stdin=content)
    extra = environment(core_autocrlf=autocrlf, core_eol=eol)
    with open_checkout(root, extra) as checkout:
        ours = Converter(checkout, parts(checkout)[0]).to_work_tree(b"f", content)
    assert ours == git_result("cat-file", "--filters", "--path=f", blob, cwd=root, env=extra).stdout


NAME = st.sampled_from(["a", "b", "ab", "a.c", "x y", "#h", "!n", "foo.log", "z]"])
PATH = st.lists(NAME, min_size=1, max_size=4).map("/".join)
GLOB = st.sampled_from(
    ["*", "?", "**", "*.log", "a*", "[ab]", "[!a]", "[a-c].c", "foo.*", "\\#h", "\\!n", "a", "b", "ab", "[[:alpha:]]b",
     "x\\ y", "[]z]*", "[z-a]", "a[", "\\a", "*b*", "a\\"]
)  # fmt: skip
PATTERN = st.tuples(
    st.sampled_from(["", "!", "/"]),
    st.lists(GLOB, min_size=1, max_size=3).map("/".join),
    st.sampled_from(["", "/", " "]),
).map("".join)


@settings(max_examples=40, deadline=None, suppress_health_check=NO_FIXTURE_WARNING)
@given(
    rules=st.lists(PATTERN, max_size=5),
    nested=st.lists(PATTERN, max_size=3),
    # "a" itself is a folder here
    paths=st.lists(PATH.filter(lambda path: path != "a"), min_size=1, max_size=12, unique=True),
)
def test_ignored_is_what_git_ignores(
    tmp_path_factory: pytest.TempPathFactory, rules: list[str], nested: list[str], paths: list[str]
) -> None:
    """For generated rules at the root and in a folder, the same paths are ignored."""
    root = tmp_path_factory.mktemp("ignore")
    git("init", "-q", cwd=root)
    (root / ".gitignore").write_text("\n".join(rules) + "\n")
    write(root, "a/.gitignore", "\n".join(nested) + "\n")
    done = git_result("check-ignore", "--no-index", "-z", "--stdin", cwd=root, stdin="\0".join(paths).encode())
    theirs = set(done.stdout.decode().split("\0")[:-1])
    with open_checkout(root) as checkout:
        ignores = Ignores(checkout, checkout.read_index(), parts(checkout)[1])
        ours = {path for path in paths if ignores.is_ignored(path.encode())}
    assert ours == theirs


VALUE = st.sampled_from(["x", "-x", "!x", "x=1", "x=2", "y", "-y", "mac", "-mac", "!mac", "y=a=b", "binary"])
LINE = st.one_of(
    st.tuples(PATTERN, st.lists(VALUE, max_size=3).map(" ".join)).map(" ".join),
    st.lists(VALUE, max_size=3).map(lambda values: " ".join(["[attr]mac", *values])),
    st.sampled_from(['"x y" x=quoted', '"a" y', '"\\141b" x=octal', "# comment", "", "\t a \t x=blank", "*.log\tx"]),
)
WANTED = ("x", "y", "mac", "text", "diff", "merge", "binary")


@settings(max_examples=40, deadline=None, suppress_health_check=NO_FIXTURE_WARNING)
@given(
    top=st.lists(LINE, max_size=6),
    nested=st.lists(LINE, max_size=4),
    info=st.lists(LINE, max_size=2),
    paths=st.lists(PATH, min_size=1, max_size=8, unique=True),
)
def test_attributes_are_gits(
    tmp_path_factory: pytest.TempPathFactory, top: list[str], nested: list[str], info: list[str], paths: list[str]
) -> None:
    """For generated attribute files, macros included, every path has git's attributes."""
    root = tmp_path_factory.mktemp("attributes")
    git("init", "-q", cwd=root)
    write(root, ".gitattributes", "\n".join(top) + "\n")
    write(root, "a/.gitattributes", "\n".join(nested) + "\n")
    write(root, ".git/info/attributes", "\n".join(info) + "\n")
    with open_checkout(root) as checkout:
        attributes = parts(checkout)[0]
        ours = {path: _shown(attributes, path.encode()) for path in paths}
    assert ours == _by_git(root, paths)


def _shown(attributes: Attributes, path: bytes) -> dict[str, str]:
    words = {True: "set", False: "unset"}
    found = {}
    for name, value in attributes.of(path).items():
        if name.decode() in WANTED and value is not None:
            found[name.decode()] = words[value] if isinstance(value, bool) else value.decode()
    return found


def _by_git(root: Path, paths: Iterable[str]) -> dict[str, dict[str, str]]:
    done = git_result("check-attr", "-z", "--stdin", *WANTED, cwd=root, stdin="\0".join(paths).encode() + b"\0")
    fields = done.stdout.decode().split("\0")[:-1]
    found: dict[str, dict[str, str]] = {path: {} for path in paths}
    for path, name, value in zip(fields[::3], fields[1::3], fields[2::3], strict=True):
        if value != "unspecified":
            found[path][name] = value
    return found


@settings(max_examples=40, deadline=None, suppress_health_check=NO_FIXTURE_WARNING)
@given(rules=st.lists(PATTERN, min_size=1, max_size=5), paths=st.lists(PATH, min_size=1, max_size=10, unique=True))
def test_sparse_rules_are_gits(tmp_path_factory: pytest.TempPathFactory, rules: list[str], paths: list[str]) -> None:
    """For generated patterns the same files are kept in the work tree as by git."""
    files = [path for path in paths if not any(other != path and other.startswith(path + "/") for other in paths)]
    root = tmp_path_factory.mktemp("sparse")
    git("init", "-q", cwd=root)
    blob = git("hash-object", "-w", "--stdin", cwd=root)
    git("update-index", "-z", "--index-info", cwd=root, stdin=b"".join(f"100644 {blob}\t{p}\0".encode() for p in files))
    git("config", "core.sparseCheckout", "true", cwd=root)
    git("config", "core.sparseCheckoutCone", "false", cwd=root)
    write(root, ".git/info/sparse-checkout", "\n".join(rules) + "\n")
    git("read-tree", git("write-tree", cwd=root), cwd=root)
    git_result("sparse-checkout", "reapply", cwd=root)
    listing = git_result("ls-files", "-t", "-z", cwd=root).stdout.decode().split("\0")[:-1]
    theirs = {line[2:] for line in listing if not line.startswith("S ")}
    with open_checkout(root) as checkout:
        rules_here = SparseRules(checkout)
        ours = {path for path in files if rules_here.includes(path.encode())}
    assert ours == theirs


@pytest.mark.parametrize(
    ("attribute", "setting", "content", "words"),
    [
        ("working-tree-encoding=UTF-16", "", b"x", "working-tree-encoding"),
        ("ident", "", b"$Id$", "ident"),
        ("filter=up", "filter.up.clean", b"x", "filter up"),
    ],
)
def test_what_only_git_knows_is_handed_over(
    root: Path, attribute: str, setting: str, content: bytes, words: str
) -> None:
    """Encodings, ident and filters are never guessed."""
    write(root, ".gitattributes", f"f {attribute}\n")
    extra = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": setting or "a.b", "GIT_CONFIG_VALUE_0": "cat"}
    with open_checkout(root, extra) as checkout, pytest.raises(NeedsGitError, match=words):
        Converter(checkout, parts(checkout)[0]).to_git(b"f", content, None)


def test_a_long_chain_of_macros_is_followed_to_its_end(root: Path) -> None:
    """A macro of a macro of a thousand macros is no deeper for us than for git: a stranger's file ends no command."""
    chain = "".join(f"[attr]m{number} m{number + 1}\n" for number in range(3000))
    (root / ".gitattributes").write_text(f"{chain}[attr]m3000 last=yes\nf m0 after\n")
    with open_checkout(root) as checkout:
        found = parts(checkout)[0].of(b"f")
    assert (found[b"last"], found[b"m2999"], found[b"after"]) == (b"yes", True, True)
