"""The single checks of ``doctor``: the remote by experiment, the clone, and the repository's workflow files."""
