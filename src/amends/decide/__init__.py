"""The pure core: what a saga does next, as a function of what has happened.

Guarantees: equal arguments give equal results; nothing here waits, reads a clock, draws
a random number or touches the outside. Times and ids are arguments.
Imports: the standard library's values only, and `amends.errors`. Never asyncio, time,
random, os, logging or a third party.
"""
