"""Transports: bytes and acks between services, over a broker or within one process.

May import `amends.message` and `amends.errors`. Must never know what a saga is: no rule, no
retry policy, no outcome.
"""
