"""The definition language: what a user writes, checked in full when a `Saga` is built.

Stage: first. Turns functions and nodes into a `Plan` (names only, for the core and the store)
and into bindings (callables, for the shell).
May import: `amends.decide`, `amends.errors`, msgspec. Must never: open, store, send or run anything.
"""
