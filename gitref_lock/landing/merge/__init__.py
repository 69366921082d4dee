"""Three-way merges in memory: lines, trees, renames, and the policy that decides what both sides changed."""
