"""Smallest and cheapest flushes: which accesses are provably enough, and code that makes them."""
