"""Rows, never rules: where sagas are kept.

Stage: third. A store writes batches, hands out unowned work, keeps the mailbox and answers
questions; what a row means is decided elsewhere.
May import: `amends.errors`, `amends.fault`. Must never: import the core's rules, the shell or a user's code.
"""
