"""The parts of ``scripts/torture``: plan, world, servers, runners, record, judge."""
