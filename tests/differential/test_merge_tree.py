"""The landed tree is git's own wherever git's merge is clean, and a conflict of git is never silently clean here.

``GITREF_LOCK_MERGE_CASES`` multiplies the number of generated situations; ``scripts/merge-agreement`` prints the table.
"""

from __future__ import annotations

import os
from pathlib import Path
from random import Random

import pytest

from tests.differential.comparison import compare_texts, compare_trees
from tests.differential.named import NAMED
from tests.differential.situations import tree_situation

_TIMES = int(os.environ.get("GITREF_LOCK_MERGE_CASES", "1"))


@pytest.mark.parametrize("seed", range(3))
def test_generated_texts(seed: int, tmp_path: Path) -> None:
    """Of thousands of texts none is clean where git conflicts or differs, and few conflict where git merges."""
    agreement = compare_texts(Random(seed), 1500 * _TIMES, tmp_path / "texts.git")

    assert agreement.errors == []
    assert agreement.share > 0.99


@pytest.mark.parametrize("seed", range(3))
def test_generated_trees(seed: int, tmp_path: Path) -> None:
    """Of hundreds of trees none is clean where git conflicts or differs, and few conflict where git merges."""
    rng = Random(1000 + seed)
    agreement = compare_trees([tree_situation(rng) for _ in range(150 * _TIMES)], tmp_path / "trees.git")

    assert agreement.errors == []
    assert agreement.share > 0.98


def test_named_situations(tmp_path: Path) -> None:
    """Every situation that a merge is known to get wrong has git's verdict and git's tree."""
    agreement = compare_trees(NAMED, tmp_path / "named.git")

    assert agreement.disagreed == {}
