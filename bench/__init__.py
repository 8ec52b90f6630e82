"""Benchmarks: what a saga costs, beside its peers and beside the bare disk.

Guarantees: what is compared runs in the same minutes, by turns, with the same durability.
Must not: be imported by the package or its tests.
"""
