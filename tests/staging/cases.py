"""Kinds of path, attribute, pathspec and repository for staging: one case a line."""

# ruff: noqa: E501 - one case a line reads as a table

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.clones import write
from tests.support.gitcli import git, git_result

Prepare = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """``base`` runs before the first commit, ``edit`` after it. ``refused`` is the code of the refusal, if any.

    ``needs_git`` tells whether the in-process stager must hand the case over. ``by_plain_commit`` compares with a
    plain `git commit`, where git's own `git commit -- PATH` fails although only PATH is staged.
    """

    name: str
    edit: Prepare
    base: Prepare = lambda _root: None
    paths: tuple[bytes, ...] = ()
    take_all: bool = False
    refused: str | None = None
    needs_git: bool = False
    by_plain_commit: bool = False


def files(**contents: bytes | str) -> Prepare:
    """Write files named by keyword, with ``__`` for a slash and ``_dot_`` for a dot."""

    def run(root: Path) -> None:
        for name, content in contents.items():
            write(root, name.replace("__", "/").replace("_dot_", "."), content)

    return run


def named(name: bytes | str, content: bytes | str = "x\n", *, mode: int | None = None) -> Prepare:
    """Write one file of any name."""
    return lambda root: write(root, name, content, mode=mode)


def both(*parts: Prepare) -> Prepare:
    """Run several preparations in order."""

    def run(root: Path) -> None:
        for part in parts:
            part(root)

    return run


def run_git(*arguments: str) -> Prepare:
    """Run git in the repository."""
    return lambda root: _ignore(git(*arguments, cwd=root))


def _ignore(_value: object) -> None:
    return


def config(key: str, value: str) -> Prepare:
    """Set a configuration value."""
    return run_git("config", key, value)


def attributes(text: str) -> Prepare:
    """Write the root's .gitattributes."""
    return named(".gitattributes", text)


def ignores(text: str) -> Prepare:
    """Write the root's .gitignore."""
    return named(".gitignore", text)


def removed(name: str) -> Prepare:
    """Remove a file."""
    return lambda root: (root / name).unlink()


def removed_tree(name: str) -> Prepare:
    """Remove a folder."""
    return lambda root: shutil.rmtree(root / name)


def linked(name: str, target: str) -> Prepare:
    """Make a symlink."""

    def run(root: Path) -> None:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)

    return run


def chmod(name: str, mode: int) -> Prepare:
    """Change a file's mode."""
    return lambda root: (root / name).chmod(mode)


def repository(name: str, *, with_commit: bool) -> Prepare:
    """Make another repository inside."""

    def run(root: Path) -> None:
        (root / name).mkdir(parents=True)
        git("init", "-q", cwd=root / name)
        write(root, f"{name}/inner", "x\n")
        if with_commit:
            git("add", ".", cwd=root / name)
            git("commit", "-q", "-m", "inner", cwd=root / name)

    return run


def submodule(name: str) -> Prepare:
    """Add a real submodule."""

    def run(root: Path) -> None:
        other = root.parent.parent / "other"
        if not other.exists():
            other.mkdir()
            git("init", "-q", cwd=other)
            write(other, "inner", "x\n")
            git("add", ".", cwd=other)
            git("commit", "-q", "-m", "inner", cwd=other)
        git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), name, cwd=root)

    return run


def commit_in(name: str) -> Prepare:
    """Commit inside a submodule."""

    def run(root: Path) -> None:
        write(root, f"{name}/inner", "y\n")
        git("commit", "-q", "-a", "-m", "more", cwd=root / name)

    return run


def touched(name: str) -> Prepare:
    """Change only a file's time."""
    return lambda root: os.utime(root / name, (1, 1))


def renamed(name: str, other: str) -> Prepare:
    """Rename behind git's back."""
    return lambda root: _ignore((root / name).rename(root / other))


def fifo(name: str) -> Prepare:
    """Make a named pipe."""
    return lambda root: os.mkfifo(root / name)


def emptied(name: str) -> Prepare:
    """Leave only an empty folder."""

    def run(root: Path) -> None:
        shutil.rmtree(root / name)
        (root / name).mkdir()

    return run


def conflict(root: Path) -> None:
    """Leave a merge with a conflict."""
    git("checkout", "-q", "-b", "other", cwd=root)
    write(root, "a", "theirs\n")
    git("commit", "-q", "-a", "-m", "theirs", cwd=root)
    git("checkout", "-q", "main", cwd=root)
    write(root, "a", "ours\n")
    git("commit", "-q", "-a", "-m", "ours", cwd=root)
    git_result("merge", "-q", "other", cwd=root)


UPPER = "tr a-z A-Z"
CRLF = b"one\r\ntwo\r\n"
BASE = files(a="1\n", d__b="2\n", d__c="3\n")

CASES = [
    # plain changes
    Case("modified-tracked", files(a="new\n"), BASE),
    Case("modified-all", files(a="new\n"), BASE, take_all=True),
    Case("modified-path", files(a="new\n", d__b="other\n"), BASE, paths=(b"a",)),
    Case("untracked-not-taken-without-all", files(a="new\n", u="u\n"), BASE),
    Case("untracked-all", files(u="u\n", e__f="f\n"), BASE, take_all=True),
    Case("untracked-path", files(u="u\n", v="v\n"), BASE, paths=(b"u",)),
    Case("deleted-tracked", removed("a"), BASE),
    Case("deleted-path", removed("a"), BASE, paths=(b"a",)),
    Case("deleted-folder", removed_tree("d"), BASE, take_all=True),
    Case("deleted-folder-path", removed_tree("d"), BASE, paths=(b"d",)),
    Case("last-file-deleted", removed("a"), files(a="1\n"), take_all=True),
    Case("folder-path", files(a="new\n", d__b="x\n", d__new="n\n"), BASE, paths=(b"d",)),
    Case("folder-path-slash", files(d__b="x\n", d__new="n\n"), BASE, paths=(b"d/",)),
    Case("renamed", both(removed("a"), files(z="1\n")), BASE, take_all=True),
    Case("same-content-touched", touched("a"), BASE, take_all=True),
    Case("empty-file", named("e", b""), BASE, take_all=True),
    Case("same-size-edit", files(a="2\n"), BASE),
    Case("unborn-all", files(a="1\n", d__b="2\n"), take_all=True),
    Case("unborn-path", files(a="1\n", b="2\n"), paths=(b"a",)),
    # what is staged already
    Case("staged-only", both(files(a="new\n"), run_git("add", "a"), files(d__b="later\n")), BASE),
    Case("staged-then-edited", both(files(a="new\n"), run_git("add", "a"), files(a="newer\n")), BASE),
    Case("staged-other-stays", both(files(a="new\n", d__b="n\n"), run_git("add", "a")), BASE, paths=(b"d/b",)),
    Case("staged-path-edited-again", both(files(a="n\n"), run_git("add", "a"), files(a="nn\n")), BASE, paths=(b"a",)),
    Case("staged-path-reverted", both(files(a="n\n"), run_git("add", "a"), files(a="1\n")), BASE, paths=(b"a",)),
    Case("staged-new-path", both(files(n="n\n"), run_git("add", "n")), BASE, paths=(b"n",)),
    Case("staged-removal", run_git("rm", "-q", "a"), BASE),
    Case("staged-removal-path", run_git("rm", "-q", "a"), BASE, paths=(b"a",)),
    Case("staged-removal-other-path", both(run_git("rm", "-q", "a"), files(d__b="n\n")), BASE, paths=(b"d",)),
    Case("unstaged-but-present", run_git("rm", "-q", "--cached", "a"), BASE),
    Case("unstaged-but-present-path", run_git("rm", "-q", "--cached", "a"), BASE, paths=(b"a",)),
    Case("staged-rename", run_git("mv", "a", "z"), BASE),
    Case("staged-all", both(files(a="n\n"), run_git("add", "a"), files(d__b="n\n", u="u\n")), BASE, take_all=True),
    Case("staged-mode", run_git("update-index", "--chmod=+x", "a"), BASE),
    Case("intent-to-add", both(files(n="n\n"), run_git("add", "-N", "n")), BASE),
    Case("intent-to-add-all", both(files(n="n\n"), run_git("add", "-N", "n")), BASE, take_all=True),
    Case("intent-to-add-path", both(files(n="n\n", a="x\n"), run_git("add", "-N", "n")), BASE, paths=(b"n",)),
    Case(
        "intent-to-add-staged-other",
        both(files(n="n\n", a="x\n"), run_git("add", "-N", "n"), run_git("add", "a")),
        BASE,
    ),
    Case("assume-unchanged", both(run_git("update-index", "--assume-unchanged", "a"), files(a="x\n", d__b="y\n")), BASE),
    # modes, links, kinds
    Case("executable", chmod("a", 0o755), BASE),
    Case("executable-new", named("x.sh", "#!/bin/sh\n", mode=0o755), BASE, take_all=True),
    Case("odd-mode", chmod("a", 0o640), BASE, take_all=True),
    Case("group-executable-only", chmod("a", 0o654), BASE, take_all=True),
    Case("filemode-off", both(config("core.fileMode", "false"), chmod("a", 0o755), files(a="n\n")), BASE),
    Case(
        "filemode-off-new", both(config("core.fileMode", "false"), named("x.sh", "x\n", mode=0o755)), BASE, take_all=True
    ),
    Case("symlink-new", linked("l", "a"), BASE, take_all=True),
    Case("symlink-dangling", linked("l", "nowhere"), BASE, paths=(b"l",)),
    Case("symlink-to-folder", linked("l", "d"), BASE, take_all=True),
    Case("symlink-changed", linked("l", "d"), both(BASE, linked("l", "a")), take_all=True),
    Case("file-to-symlink", linked("a", "d/b"), BASE),
    Case("symlink-to-file", both(removed("l"), files(l="now a file\n")), both(BASE, linked("l", "a"))),
    Case("file-to-folder", both(removed("a"), files(a__x="x\n")), BASE, take_all=True),
    Case("file-to-folder-tracked-only", both(removed("a"), files(a__x="x\n")), BASE),
    Case("file-to-folder-path", both(removed("a"), files(a__x="x\n")), BASE, paths=(b"a",), by_plain_commit=True),
    Case("folder-to-file", both(removed_tree("d"), files(d="x\n")), BASE, take_all=True),
    Case("folder-to-file-path", both(removed_tree("d"), files(d="x\n")), BASE, paths=(b"d",)),
    Case("folder-to-symlink", both(removed_tree("d"), linked("d", "a")), BASE, take_all=True),
    Case("folder-to-symlink-to-twin", both(renamed("d", "e"), linked("d", "e")), BASE, take_all=True),
    Case("beyond-symlink", linked("l", "d"), BASE, paths=(b"l/b",), refused="beyond-symlink"),
    Case("fifo-skipped", fifo("p"), BASE, take_all=True),
    # names
    Case("name-not-utf8", named(b"caf\xe9", "x\n"), BASE, take_all=True),
    Case("name-not-utf8-path", named(b"caf\xe9", "x\n"), BASE, paths=(b"caf\xe9",)),
    Case("name-newline-quote", named('a "b"\nc', "x\n"), BASE, take_all=True),
    Case("name-leading-dash", named("-f", "x\n"), BASE, paths=(b"-f",)),
    Case("name-with-star", both(named("a*", "x\n"), named("ab", "y\n")), BASE, paths=(b":(literal)a*",)),
    Case("name-backslash", named("b\\c", "x\n"), BASE, paths=(b"b\\c",)),
    Case("name-unicode", named("\u00e9\u0301/\u4e2d", "x\n"), BASE, take_all=True),
    Case("name-long", named("n" * 250, "x\n"), BASE, take_all=True),
    Case("name-deep", named("/".join(["deep"] * 40), "x\n"), BASE, take_all=True),
    Case("name-sorts-around-slash", files(d="x\n"), named("d.x/y", "y\n"), take_all=True),
    Case("name-dot-sibling", both(named("d.b", "x\n"), named("d-b", "x\n"), files(d__b="y\n")), BASE, take_all=True),
    Case("name-git-lookalike", named("sub/.gitx", "x\n"), BASE, take_all=True),
    Case("name-git-forbidden", named("sub/.git ", "x\n"), BASE, paths=(b"sub/.git ",), refused="git-refused", needs_git=True),
    Case("git-own-file", files(a="n\n"), BASE, paths=(b".git/config",), refused="path-invalid"),
    # pathspecs
    Case("dot-slash-and-double", files(d__b="n\n"), BASE, paths=(b"./d//b",)),
    Case("dot-dot", files(a="n\n"), BASE, paths=(b"d/../a",)),
    Case("outside", files(a="n\n"), BASE, paths=(b"../x",), refused="path-outside"),
    Case("no-such", files(a="n\n"), BASE, paths=(b"nowhere",), refused="no-such-path"),
    Case("no-such-beside-good", files(a="n\n"), BASE, paths=(b"a", b"nowhere"), refused="no-such-path"),
    Case("empty-pathspec", files(a="n\n"), BASE, paths=(b"",), refused="bad-pathspec"),
    Case("everything-here", files(a="n\n", u="u\n"), BASE, paths=(b".",)),
    Case("glob", files(x_dot_txt="1\n", y_dot_txt="2\n", z_dot_md="3\n"), BASE, paths=(b"*.txt",)),
    Case("glob-crosses-folders", files(x_dot_txt="1\n", e__y_dot_txt="2\n"), BASE, paths=(b"*.txt",)),
    Case("glob-magic-stays", files(x_dot_txt="1\n", e__y_dot_txt="2\n"), BASE, paths=(b":(glob)*.txt",)),
    Case("glob-magic-deep", files(x_dot_txt="1\n", e__f__y_dot_txt="2\n"), BASE, paths=(b":(glob)**/*.txt",)),
    Case("glob-tracked-deleted", both(removed("a"), removed("d/b")), BASE, paths=(b"?", b"d/[bc]")),
    Case("glob-question", files(x1="1\n", x22="2\n"), BASE, paths=(b"x?",)),
    Case("glob-negated-set", files(x1="1\n", x2="2\n"), BASE, paths=(b"x[!1]",), needs_git=True),
    Case("exclude", files(a="n\n", d__b="n\n", d__c="n\n"), BASE, paths=(b".", b":!d/b")),
    Case("exclude-long", files(a="n\n", d__b="n\n"), BASE, paths=(b"*", b":(exclude)d")),
    Case("exclude-only", files(a="n\n", d__b="n\n", u="u\n"), BASE, paths=(b":^d",)),
    Case("icase", files(a="n\n"), BASE, paths=(b":(icase)A",), needs_git=True),
    Case("top", files(a="n\n"), BASE, paths=(b":/a",)),
    Case("top-long", files(a="n\n"), BASE, paths=(b":(top)a",)),
    Case("bad-magic", files(a="n\n"), BASE, paths=(b":(nonsense)a",), refused="bad-pathspec", needs_git=True),
    # ignored files
    Case("ignored-all", files(x_dot_log="1\n", k="2\n"), both(BASE, ignores("*.log\n")), take_all=True),
    Case("ignored-path", files(x_dot_log="1\n"), both(BASE, ignores("*.log\n")), paths=(b"x.log",), refused="path-ignored"),
    Case("ignored-folder-path", files(o__x="1\n"), both(BASE, ignores("o/\n")), paths=(b"o",), refused="path-ignored"),
    Case("ignored-glob", files(x_dot_log="1\n", a="n\n"), both(BASE, ignores("*.log\n")), paths=(b"*.log",), refused="no-such-path"),
    Case("ignored-glob-beside-good", files(x_dot_log="1\n", a="n\n"), both(BASE, ignores("*.log\n")), paths=(b"*.log", b"a"), refused="no-such-path"),
    Case("ignored-in-folder-path", files(o__x="1\n"), both(BASE, ignores("o/\n")), paths=(b"o/x",), refused="path-ignored"),
    Case("ignored-in-named-folder", files(d__x_dot_log="1\n", d__k="2\n"), both(BASE, ignores("*.log\n")), paths=(b"d",)),
    Case("ignored-but-tracked", files(a="n\n"), both(BASE, run_git("add", "a"), ignores("a\n")), paths=(b"a",)),
    Case("ignored-but-tracked-all", files(d__b="n\n", d__u="u\n"), both(BASE, run_git("add", "."), ignores("d\n")), take_all=True),
    Case("ignore-negated", files(x_dot_log="1\n", keep_dot_log="2\n"), both(BASE, ignores("*.log\n!keep.log\n")), take_all=True),
    Case("ignore-no-re-include", files(o__keep="1\n"), both(BASE, ignores("o/\n!o/keep\n")), take_all=True),
    Case("ignore-star-re-include", files(o__keep="1\n", o__x="2\n"), both(BASE, ignores("o/*\n!o/keep\n")), take_all=True),
    Case("ignore-nested", files(e__x="1\n", e__y="2\n"), both(BASE, named("e/.gitignore", "x\n")), take_all=True),
    Case("ignore-nested-negates", files(e__x="1\n"), both(BASE, ignores("x\n"), named("e/.gitignore", "!x\n")), take_all=True),
    Case("ignore-anchored", files(x="1\n", e__x="2\n"), both(BASE, ignores("/x\n")), take_all=True),
    Case("ignore-slash-inside", files(e__x="1\n", f__e__x="2\n"), both(BASE, ignores("e/x\n")), take_all=True),
    Case("ignore-double-star", files(e__f__x="1\n", x="2\n"), both(BASE, ignores("**/f/x\n")), take_all=True),
    Case("ignore-folder-only", both(files(e__o__x="1\n"), named("o", "file\n")), both(BASE, ignores("o/\n")), take_all=True),
    Case("ignore-crlf-and-spaces", both(named("x", "1\n"), named("y ", "2\n")), both(BASE, ignores("x\r\ny\\ \n")), take_all=True),
    Case("ignore-escaped", both(named("#x", "1\n"), named("!y", "2\n"), named("z", "3\n")), both(BASE, ignores("\\#x\n\\!y\n")), take_all=True),
    Case("ignore-set", files(x1="1\n", x2="2\n", xa="3\n"), both(BASE, ignores("x[0-9]\n")), take_all=True),
    Case("ignore-trailing-backslash", both(named("x\\", "1\n"), named("x", "2\n")), both(BASE, ignores("x\\\n")), take_all=True),
    Case("info-exclude", files(x="1\n", y="2\n"), both(BASE, named(".git/info/exclude", "x\n")), take_all=True),
    Case("excludes-file", files(x="1\n", y="2\n"), both(BASE, named("../ig", "x\n"), config("core.excludesFile", "../ig")), take_all=True),
    # line ends and attributes
    Case("crlf-untouched", named("f", CRLF), BASE, take_all=True),
    Case("text", named("f.t", CRLF), both(BASE, attributes("*.t text\n")), take_all=True),
    Case("text-auto", named("f.t", CRLF), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-auto-binary", named("f.t", b"\0\r\n"), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-with-nul", named("f.t", b"\0\r\n"), both(BASE, attributes("* text\n")), take_all=True),
    Case("text-auto-lone-cr", named("f.t", b"a\rb\r\n"), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-lone-cr", named("f.t", b"a\rb\r\n\r\r\n"), both(BASE, attributes("* text\n")), take_all=True),
    Case("text-auto-controls", named("f.t", b"\x01\x02a\r\n"), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-auto-few-controls", named("f.t", b"\x01" + b"a" * 200 + b"\r\n"), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-auto-ctrl-z", named("f.t", b"a\r\n\x1a"), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-auto-latin1", named("f.t", b"\xe9\xe8\r\n" * 50), both(BASE, attributes("* text=auto\n")), take_all=True),
    Case("text-auto-crlf-in-index", named("f.t", CRLF + b"three\r\n"), both(named("f.t", CRLF), run_git("add", "f.t"), attributes("* text=auto\n")), paths=(b"f.t",)),
    Case("crlf-only-change", named("f.t", CRLF), both(named("f.t", b"one\ntwo\n"), attributes("* text=auto\n"))),
    Case("minus-text", named("f.t", CRLF), both(BASE, attributes("* text=auto\n*.t -text\n")), take_all=True),
    Case("unspecified-text", named("f.t", CRLF), both(BASE, attributes("* text\n*.t !text\n")), take_all=True),
    Case("binary-macro", named("f.dat", CRLF), both(BASE, attributes("* text=auto\n*.dat binary\n")), take_all=True),
    Case("own-macro", named("f.t", CRLF), both(BASE, attributes("[attr]raw -text\n* text\n*.t raw\n")), take_all=True),
    Case("macro-not-in-folders", named("e/f.t", CRLF), both(BASE, attributes("* text\n"), named("e/.gitattributes", "[attr]raw -text\n*.t raw\n")), take_all=True),
    Case("eol-crlf", named("f.t", CRLF), both(BASE, attributes("*.t eol=crlf\n")), take_all=True),
    Case("eol-lf", named("f.t", CRLF), both(BASE, attributes("*.t text eol=lf\n")), take_all=True),
    Case("eol-crlf-mixed", named("f.t", b"a\nb\r\n"), both(BASE, attributes("*.t eol=crlf\n")), take_all=True),
    Case("old-crlf-attribute", named("f.t", CRLF), both(BASE, attributes("*.t crlf\n")), take_all=True),
    Case("old-crlf-input", named("f.t", CRLF), both(BASE, attributes("*.t crlf=input\n")), take_all=True),
    Case("autocrlf-true", named("f.t", CRLF), both(BASE, config("core.autocrlf", "true")), take_all=True),
    Case("autocrlf-input", named("f.t", CRLF), both(BASE, config("core.autocrlf", "input")), take_all=True),
    Case("autocrlf-true-in-index", named("f", CRLF + b"x\r\n"), both(named("f", CRLF), run_git("add", "f"), config("core.autocrlf", "true"))),
    Case("safecrlf", named("f.t", b"a\nb\r\n"), both(BASE, attributes("*.t eol=crlf\n"), config("core.safecrlf", "true")), take_all=True, refused="git-refused", needs_git=True),
    Case("core-eol", named("f.t", CRLF), both(BASE, attributes("* text=auto\n"), config("core.eol", "crlf")), take_all=True),
    Case("attributes-in-folder", both(named("e/f.t", CRLF), named("f.t", CRLF)), both(BASE, named("e/.gitattributes", "*.t text\n")), take_all=True),
    Case("attributes-deeper-wins", named("e/f.t", CRLF), both(BASE, attributes("*.t text\n"), named("e/.gitattributes", "*.t -text\n")), take_all=True),
    Case("attributes-new-and-untracked", both(attributes("*.t text\n"), named("f.t", CRLF)), BASE, take_all=True),
    Case("attributes-deleted-here", both(removed(".gitattributes"), named("f.t", CRLF)), both(BASE, attributes("*.t text\n")), paths=(b"f.t",)),
    Case("info-attributes", named("f.t", CRLF), both(BASE, attributes("*.t text\n"), named(".git/info/attributes", "*.t -text\n")), take_all=True),
    Case("attributes-file", named("f.t", CRLF), both(BASE, named("../at", "*.t text\n"), config("core.attributesFile", "../at")), take_all=True),
    Case("attributes-quoted", named("a b.t", CRLF), both(BASE, attributes('"a b.t" text\n')), take_all=True),
    Case("attributes-path", both(named("e/f", CRLF), named("f", CRLF)), both(BASE, attributes("e/** text\n")), take_all=True),
    Case("attributes-folder-slash", named("e/f", CRLF), both(BASE, attributes("e/ text\n")), take_all=True),
    Case("attributes-symlink", both(linked(".gitattributes", "a"), named("f.t", CRLF)), files(a="*.t text\n"), take_all=True),
    Case("utf16", named("f.t", "a\r\n".encode("utf-16")), both(BASE, attributes("*.t working-tree-encoding=UTF-16\n")), take_all=True, needs_git=True),
    Case("ident", named("f.t", "$Id: old $\n"), both(BASE, attributes("*.t ident\n")), take_all=True, needs_git=True),
    Case("ident-without-keyword", named("f.t", "plain\n"), both(BASE, attributes("*.t ident\n")), take_all=True),
    Case("filter", named("f.t", "abc\n"), both(BASE, attributes("*.t filter=up\n"), config("filter.up.clean", UPPER)), take_all=True, needs_git=True),
    Case("filter-unconfigured", named("f.t", "abc\n"), both(BASE, attributes("*.t filter=none\n")), take_all=True),
    Case("filter-required-fails", named("f.t", "abc\n"), both(BASE, attributes("*.t filter=no\n"), config("filter.no.clean", "false"), config("filter.no.required", "true")), take_all=True, refused="git-refused", needs_git=True),
    Case("lfs-not-installed", named("f.bin", "abc\n"), both(BASE, attributes("*.bin filter=lfs -text\n")), take_all=True, refused="lfs-missing"),
    Case("lfs-pointer", named("f.bin", "version https://git-lfs.example/spec\n"), both(BASE, attributes("*.bin filter=lfs -text\n")), take_all=True),
    # repositories inside
    Case("embedded", repository("sub", with_commit=True), BASE, take_all=True, refused="embedded-repository"),
    Case("embedded-path", repository("sub", with_commit=True), BASE, paths=(b"sub",), refused="embedded-repository"),
    Case("embedded-inside-path", repository("sub", with_commit=True), BASE, paths=(b"sub/inner",), refused="embedded-repository"),
    Case("embedded-empty", repository("sub", with_commit=False), BASE, take_all=True, refused="embedded-repository"),
    Case("embedded-ignored", repository("sub", with_commit=True), both(BASE, ignores("sub\n")), take_all=True),
    Case("embedded-not-meant", both(repository("sub", with_commit=True), files(a="n\n")), BASE, paths=(b"a",)),
    Case("git-folder-that-is-none", files(e___dot_git__x="1\n", e__y="2\n"), BASE, take_all=True),
    Case("submodule-unchanged", files(a="n\n"), both(BASE, submodule("sub")), take_all=True, needs_git=True),
    Case("submodule-moved", commit_in("sub"), both(BASE, submodule("sub")), take_all=True, needs_git=True),
    Case("submodule-moved-path", commit_in("sub"), both(BASE, submodule("sub")), paths=(b"sub",), needs_git=True),
    Case("submodule-added", submodule("sub"), BASE),
    Case("submodule-other-path", both(commit_in("sub"), files(a="n\n")), both(BASE, submodule("sub")), paths=(b"a",)),
    Case("submodule-not-populated", both(files(a="n\n"), emptied("sub")), both(BASE, submodule("sub")), take_all=True),
    # index formats
    Case("index-v4", both(run_git("update-index", "--index-version=4"), files(a="n\n", d__new="x\n")), BASE, take_all=True),
    Case("index-v3", both(files(n="n\n", a="x\n"), run_git("add", "-N", "n")), both(BASE, config("index.version", "3"))),
    Case("split-index", both(run_git("update-index", "--split-index"), files(a="n\n", u="u\n")), BASE, take_all=True, needs_git=True),
    Case("untracked-cache", both(run_git("update-index", "--untracked-cache"), run_git("status"), files(a="n\n", u="u\n")), BASE, take_all=True),
    Case("skip-hash", both(config("index.skipHash", "true"), run_git("update-index", "--force-write-index"), files(a="n\n")), BASE),
    Case("sparse-new-inside", both(run_git("sparse-checkout", "set", "d"), files(d__n="n\n")), BASE, take_all=True, needs_git=True),
    Case("sparse-outside-kept", both(run_git("sparse-checkout", "set", "d"), files(d__b="n\n")), both(BASE, files(e__x="1\n"))),
    Case("sparse-outside-path", both(run_git("sparse-checkout", "set", "d"), files(e__n="n\n")), both(BASE, files(e__x="1\n")), paths=(b"e/n",), refused="outside-sparse-checkout", needs_git=True),
    Case("sparse-index", both(run_git("sparse-checkout", "set", "--sparse-index", "d"), files(d__b="n\n")), both(BASE, files(e__x="1\n")), needs_git=True),
    Case("unmerged", conflict, BASE, take_all=True, refused="unmerged-paths"),
]  # fmt: skip
