"""Benchmarks of services: sagas whose steps are done by other processes, over each broker.

Guarantees: whatever is compared uses the same broker and the same PostgreSQL, by turns, in processes of its own.
Must not: be imported by the package.
"""
