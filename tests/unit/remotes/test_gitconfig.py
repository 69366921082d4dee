"""Git's configuration, compared entry by entry with what the git program itself lists."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gitref_lock.remotes import gitconfig
from gitref_lock.remotes.gitconfig import RemoteConfigError
from gitref_lock.remotes.repository import find_repository


class Desk:
    """A home, a system file and a repository of their own, seen by git and by the reader alike."""

    def __init__(self, root: Path) -> None:
        self.home = root / "home"
        self.repo = root / "repo"
        self.system = root / "system.config"
        self.home.mkdir()
        self.environ: dict[str, str] = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "GIT_CONFIG_SYSTEM": str(self.system),
            "LC_ALL": "C",
        }
        self.git("init", "-q", "-b", "main", str(self.repo), cwd=root)
        self.config = self.repo / ".git" / "config"

    def git(self, *words: str, cwd: Path | None = None) -> bytes:
        done = subprocess.run(["git", *words], cwd=cwd or self.repo, env=self.environ, capture_output=True, check=True)
        return done.stdout

    def add(self, text: str, file: Path | None = None) -> None:
        target = file or self.config
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8", newline="") as out:
            out.write(text)

    def git_lists(self, cwd: Path | None = None) -> list[tuple[str, str, str | None]] | None:
        """Return scope, name and value of each entry as git lists them, None when git refuses."""
        done = subprocess.run(
            ["git", "config", "--list", "--show-scope", "-z"],
            cwd=cwd or self.repo,
            env=self.environ,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            return None
        fields = done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1]
        pairs = zip(fields[::2], fields[1::2], strict=True)
        listed = [(scope, *text.partition("\n")) for scope, text in pairs]
        return [(scope, name, value if newline else None) for scope, name, newline, value in listed]

    def we_list(self, git_dir: Path | None = None) -> list[tuple[str, str, str | None]] | None:
        own = git_dir or self.repo / ".git"
        try:
            config = gitconfig.load(own, self.repo / ".git", self.repo, self.environ)
        except RemoteConfigError:
            return None
        return as_git_lists(config)


def as_git_lists(config: gitconfig.GitConfig) -> list[tuple[str, str, str | None]]:
    """Write entries the way git names them."""
    return [
        (e.scope, ".".join(part for part in (e.section, e.subsection, e.key) if part is not None), e.value)
        for e in config.entries
    ]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


ODD_FILES = {
    "plain": "[a]\nb = c\n",
    "no end of line": "[a]\nb = c",
    "windows lines": "[a]\r\nb = c \r\n\tkey = two\\\r\n lines\r\n",
    "broken: empty include": "[include]\npath =\n",
    "broken: include without a value": "[include]\npath\n",
    "byte order mark": "\ufeff[a]\nb = c\n",
    "key without value": "[a]\nb\nc =\nd = \n",
    "key on the header's line": "[a] b = c\n[d]e=f\n",
    "several headers": '[a][b "c"]d = e\n',
    "bracket in subsection": '[a "x]y"]\nb = c\n',
    "quote and backslash in subsection": '[a "x\\"y\\\\z\\q"]\nb = c\n',
    "empty subsection": '[a ""]\nb = c\n',
    "subsection keeps case": '[AbC "DeF"]\nGhI = JkL\n',
    "old dotted section": "[a.B.C]\nd = e\n",
    "old dotted section with subsection": '[a.B "C"]\nd = e\n',
    "dots in subsection": '[http "https://h.example/a.b"]\nextraHeader = X: y\n',
    "comments": '# one\n; two\n[a] # three\nb = c # four\nd = e ; five\nf = "g # h" ; i\n',
    "comment at the end": "[a]\nb = c # no newline",
    "quotes in the middle": '[a]\nb = x "y  z" w\n',
    "spaces inside": "[a]\nb =   c   d   \n",
    "quoted spaces at the ends": '[a]\nb = "  c  "\nd = x"  "\n',
    "escapes": '[a]\nb = \\t\\n\\b\\\\\\"\n',
    "joined lines": "[a]\nb = c \\\n   d\\\n\\\ne\nf = \\\n  g\n",
    "joined line at the end": "[a]\nb = c\\",
    "comment swallows the join": "[a]\nb = c # d \\\ne = f\n",
    "utf-8": '[a "ü"]\nb = ö\n',
    "semicolon without space": "[a]\nb = c;d\ne = f#g\n",
    "spaced equals": "[a]\nb\t \t= c\n",
    "digits and dashes": "[a-1]\nb-2 = 3\n",
    "hash inside a header's quotes": '[a "#"]\nb = c\n',
    "broken: open header": "[a\nb = c\n",
    "broken: open quote": '[a]\nb = "c\n',
    "broken: bad escape": "[a]\nb = \\q\n",
    "broken: bad key": "[a]\n1b = c\n",
    "broken: word after key": "[a]\nb c\n",
    "broken: header junk": "[a b]\n",
    "broken: underscore": "[a]\nb_c = d\n",
    "broken: after subsection": '[a "b" ]\nc = d\n',
}


@pytest.mark.parametrize("text", ODD_FILES.values(), ids=ODD_FILES.keys())
def test_odd_files_read_as_git_reads_them(desk: Desk, text: str) -> None:
    """Every way to write a file yields git's entries, and what git refuses is refused."""
    desk.add(text, desk.home / ".gitconfig")
    assert desk.we_list() == desk.git_lists()


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "[a]",
            '[b "C"]',
            "[d.E]",
            "\n",
            "\n",
            "\r\n",
            " ",
            "k",
            "K2",
            "=",
            "=",
            " = ",
            "v",
            '"',
            "\\",
            "\\n",
            "#",
            ";",
            "é",
            "]",
        ]
    ),
    max_size=25,
).map("".join)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=FRAGMENTS)
def test_any_text_reads_as_git_reads_it(desk: Desk, text: str) -> None:
    """Whatever characters a file is made of, the reader and git agree on entries and refusal."""
    file = desk.home / ".gitconfig"
    file.write_bytes(f"[s]\n{text}".encode())
    assert desk.we_list() == desk.git_lists()


def test_white_space_inside_a_value_is_kept(desk: Desk) -> None:
    """A tab inside a value stays a tab, as in git since 2.45; older releases made a space of it."""
    desk.add("[a]\nb = c\td\te \t\n", desk.home / ".gitconfig")
    listed, theirs = desk.we_list(), desk.git_lists()
    assert listed is not None
    assert theirs is not None
    assert listed[0] == ("global", "a.b", "c\td\te")
    assert (listed[0][2] or "").split() == (theirs[0][2] or "").split()


def test_all_files_are_read_in_gits_order(desk: Desk) -> None:
    """System, the user's two files, repository, worktree, then the environment."""
    desk.add("[x]\nv = system\n", desk.system)
    desk.add("[x]\nv = xdg\n", desk.home / ".config/git/config")
    desk.add("[x]\nv = user\n", desk.home / ".gitconfig")
    desk.add("[x]\nv = local\n[extensions]\nworktreeConfig = true\n")
    desk.add("[x]\nv = worktree\n", desk.repo / ".git/config.worktree")
    desk.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "X.V", "GIT_CONFIG_VALUE_0": "env"}
    desk.environ["GIT_CONFIG_PARAMETERS"] = "'x.v'='parameter' 'x.w' 'x.old=style' 'x.It'\\''s.v'='it'\\''s'"
    listed = desk.we_list()
    assert listed == desk.git_lists()
    assert listed is not None
    assert [value for _, name, value in listed if name == "x.v"] == [
        "system", "xdg", "user", "local", "worktree", "env", "parameter",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [
        {"GIT_CONFIG_NOSYSTEM": "1"},
        {"GIT_CONFIG_NOSYSTEM": "no"},
        {"GIT_CONFIG_GLOBAL": "other"},
        {"GIT_CONFIG_GLOBAL": "/dev/null"},
        {"XDG_CONFIG_HOME": "xdg"},
        {"GIT_CONFIG_COUNT": "0"},
        {"GIT_CONFIG_COUNT": ""},
        {"GIT_CONFIG_COUNT": "x"},
        {"GIT_CONFIG_COUNT": "1"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "nodot", "GIT_CONFIG_VALUE_0": "v"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b.c.D", "GIT_CONFIG_VALUE_0": ""},
        {"GIT_CONFIG_PARAMETERS": "'a.b'='c"},
        {"GIT_CONFIG_PARAMETERS": "a.b=c"},
        {"GIT_CONFIG_PARAMETERS": "'a.b'= 'c.d=e=f'"},
        {"GIT_CONFIG_PARAMETERS": "'a.b'x"},
        {"GIT_CONFIG_PARAMETERS": "  "},
    ],
    ids=str,
)
def test_variables_choose_and_add_settings_as_in_git(desk: Desk, changes: Mapping[str, str]) -> None:
    """The variables that move, hide or add settings act as they do in git, mistakes in them included."""
    desk.add("[x]\nv = system\n", desk.system)
    desk.add("[x]\nv = xdg\n", desk.home / ".config/git/config")
    desk.add("[x]\nv = user\n", desk.home / ".gitconfig")
    desk.add("[x]\nv = other\n", desk.home / "other")
    desk.add("[x]\nv = other xdg\n", desk.home / "xdg/git/config")
    at_home = {k: str(desk.home / v) if v in {"other", "xdg"} else v for k, v in changes.items()}
    desk.environ |= at_home
    assert desk.we_list() == desk.git_lists()


def test_without_a_home_only_the_repository_counts(desk: Desk) -> None:
    """A container without HOME is no error."""
    desk.add("[x]\nv = user\n", desk.home / ".gitconfig")
    del desk.environ["HOME"]
    assert desk.we_list() == desk.git_lists()


def test_includes_stand_where_they_are_written(desk: Desk) -> None:
    """What a file includes counts at the include's place: absolute, relative to the file, from the home, missing."""
    desk.add("[x]\nv = absolute\n", desk.home / "one")
    desk.add("[x]\nv = relative\n[include]\npath = deeper\n", desk.home / "sub/two")
    desk.add("[x]\nv = deeper\n", desk.home / "sub/deeper")
    desk.add("[x]\nv = home\n", desk.home / "three")
    desk.add(
        f"[include]\npath = {desk.home / 'one'}\n[x]\nv = between\n[include]\npath = sub/two\npath = ~/three\n"
        'path = nowhere\n[include "sub"]\npath = one\n[x]\nv = last\n',
        desk.home / ".gitconfig",
    )
    assert desk.we_list() == desk.git_lists()


def test_an_include_in_the_environment_must_be_absolute(desk: Desk) -> None:
    """A setting of the environment may include a file by its full name only, as git says."""
    desk.add("[x]\nv = one\n", desk.home / "one")
    desk.environ |= {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "include.path", "GIT_CONFIG_VALUE_0": "one"}
    assert desk.we_list() is None
    assert desk.git_lists() is None
    desk.environ["GIT_CONFIG_VALUE_0"] = str(desk.home / "one")
    assert desk.we_list() == desk.git_lists()


def test_a_circle_of_includes_is_refused(desk: Desk) -> None:
    """A file that includes itself ends in an error, not in a hang."""
    desk.add("[include]\npath = .gitconfig\n", desk.home / ".gitconfig")
    assert desk.git_lists() is None
    with pytest.raises(RemoteConfigError, match="too deep"):
        gitconfig.load(None, None, None, desk.environ)


CONDITIONS = [
    "gitdir:{repo}/.git",
    "gitdir:{repo}/",
    "gitdir:{repo}",
    "gitdir:{REPO}/.GIT",
    "gitdir/i:{REPO}/.GIT",
    "gitdir:repo/",
    "gitdir:repo/.git",
    "gitdir:**/.git",
    "gitdir:*/.git",
    "gitdir:~/../repo/",
    "gitdir:./",
    "gitdir:./../repo/",
    "gitdir:{root}/r?po/.git",
    "gitdir:{root}/[a-z]epo/.git",
    "gitdir:{root}/[!a-q]epo/.git",
    "gitdir:{root}/[[:alpha:]]epo/.git",
    "gitdir:{root}/link/.git",
    "gitdir:{root}/link/",
    "gitdir:",
    "onbranch:feature/x",
    "onbranch:feature/",
    "onbranch:feature/*",
    "onbranch:**",
    "onbranch:main",
    "onbranch:feat*",
    "hasconfig:remote.*.url:https://h.example/**",
    "hasconfig:remote.*.url:https://h.example/*",
    "hasconfig:remote.*.url:https://h.example/",
    "hasconfig:remote.*.url:ssh://**",
    "hasconfig:remote.*.pushurl:**",
    "unknown:x",
    "nocolon",
]


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("via_link", [False, True], ids=["direct", "link"])
def test_conditional_includes_hold_when_git_says_so(desk: Desk, condition: str, via_link: bool) -> None:
    """Every kind of condition, in the user's file and in the repository's, decides as it does in git."""
    root = desk.repo.parent
    (root / "link").symlink_to(desk.repo)
    desk.git("symbolic-ref", "HEAD", "refs/heads/feature/x")
    desk.add('[remote "o"]\nurl = https://h.example/a/b\n')
    desk.add("[x]\nv = included\n", desk.home / "extra")
    text = condition.format(repo=desk.repo, REPO=str(desk.repo).upper(), root=root)
    include = f'[includeIf "{text}"]\npath = {desk.home / "extra"}\n'
    desk.add(include, desk.home / ".gitconfig")
    desk.add(include)
    where = root / "link" if via_link else desk.repo
    desk.environ["PWD"] = str(where)
    assert desk.we_list(where / ".git") == desk.git_lists(where)


PATTERNS = st.lists(
    st.sampled_from(
        ["a", "b", "ab", "/", "/", "*", "**", "?", "[ab]", "[!a]", "[^b]", "[a-b]", "[]a]", "[", "\\\\*", "[[:alpha:]]"]
    ),
    min_size=1,
    max_size=7,
).map("".join)
BRANCHES = st.sampled_from(["a", "b", "ab", "a/b", "a/ab", "a/b/ab", "b/a/b/a", "ab/b", "c", "a/c/b", "]"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pattern=PATTERNS, branch=BRANCHES)
def test_any_pattern_matches_what_git_matches(desk: Desk, pattern: str, branch: str) -> None:
    """Stars, double stars, brackets, escapes and broken patterns select the branches they select in git."""
    (desk.repo / ".git/HEAD").write_text(f"ref: refs/heads/{branch}\n", "utf-8")
    extra = desk.home / "extra"
    extra.write_text("[x]\nv = included\n", "utf-8")
    (desk.home / ".gitconfig").write_text(f'[includeIf "onbranch:{pattern}"]\npath = {extra}\n', "utf-8")
    assert desk.we_list() == desk.git_lists()


def test_a_condition_may_name_the_way_the_user_came(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a folder entered through a symbolic link, the link's name counts as the repository's name too."""
    (desk.repo / "sub").mkdir()
    link = desk.repo.parent / "link"
    link.symlink_to(desk.repo)
    desk.add("[x]\nv = included\n", desk.home / "extra")
    desk.add(f'[includeIf "gitdir:{link}/"]\npath = {desk.home / "extra"}\n', desk.home / ".gitconfig")
    monkeypatch.chdir(link)
    desk.environ["PWD"] = str(link)
    found = find_repository(Path.cwd(), desk.environ)
    assert found is not None
    listed = as_git_lists(gitconfig.load(found.git_dir, found.common_dir, found.work_tree, desk.environ))
    assert listed == desk.git_lists(link)
    assert ("global", "x.v", "included") in listed


def test_checkouts_credential_files_apply_in_linked_worktrees(desk: Desk) -> None:
    """A token in a file included for ``.git`` and for ``worktrees/*`` is found from both, as CI checkouts write it."""
    desk.git("-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m")
    desk.git("worktree", "add", "-q", "../linked")
    secret = desk.home / "credentials.config"
    desk.add('[http "https://h.example/"]\nextraheader = AUTHORIZATION: basic eA==\n', secret)
    git_dir = desk.repo / ".git"
    desk.add(f'[includeIf "gitdir:{git_dir}"]\npath = {secret}\n')
    desk.add(f'[includeIf "gitdir:{git_dir}/worktrees/*"]\npath = {secret}\n')
    linked = desk.repo.parent / "linked"
    theirs = desk.git_lists(linked)
    assert desk.we_list(git_dir / "worktrees/linked") == theirs
    assert theirs is not None
    assert any(name.endswith("extraheader") for _, name, _ in theirs)


def test_a_linked_worktree_has_settings_of_its_own(desk: Desk) -> None:
    """With the extension on, ``config.worktree`` of this worktree counts above the repository's file."""
    desk.git("-c", "user.name=n", "-c", "user.email=e", "commit", "-q", "--allow-empty", "-m", "m")
    desk.git("worktree", "add", "-q", "../linked")
    desk.git("config", "extensions.worktreeConfig", "true")
    linked = desk.repo.parent / "linked"
    desk.git("config", "--worktree", "x.v", "mine", cwd=linked)
    assert desk.we_list(desk.repo / ".git/worktrees/linked") == desk.git_lists(linked)


def test_a_mistake_is_named_with_file_and_line(desk: Desk) -> None:
    """The error says where to look."""
    desk.add("[a]\nb = c\n= d\n", desk.home / ".gitconfig")
    with pytest.raises(RemoteConfigError, match=r"\.gitconfig: line 3 cannot be read") as caught:
        gitconfig.load(None, None, None, desk.environ)
    assert caught.value.code == "bad-config"


def test_a_folder_in_place_of_a_file_is_an_error_with_its_reason(desk: Desk) -> None:
    """What cannot be read and is not simply absent is reported."""
    (desk.home / ".gitconfig").mkdir()
    with pytest.raises(RemoteConfigError, match="directory"):
        gitconfig.load(None, None, None, desk.environ)
