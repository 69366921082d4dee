"""The machinery of ``scripts/bench`` and ``scripts/race``: peers on one server, taken in turns, compared as ratios."""
