"""Facts that ship with the package, and the reading of them. The CPU files are in ``cpus/``."""
