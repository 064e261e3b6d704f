"""Drives: accesses that bring a set into the start of a counterexample, whatever is in it before."""
