"""The strategies, one file each: how the two versions of a path that both sides changed become one."""
