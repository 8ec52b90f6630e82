"""Benchmarks on PostgreSQL: all contenders on one private server, in one run.

Guarantees: default durability; every database is fresh, and a checkpoint comes before each window, for all alike.
Must not: be imported by the package.
"""
