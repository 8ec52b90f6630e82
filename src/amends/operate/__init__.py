"""Operating sagas: reading them and acting on them, from outside the code that runs them.

Stage: fifth. `operations.py` is the only way in; the command line is thin over it. Every act is
a mail, so it is durable, answered, and in the saga's own history with who and why.
May import: everything but `amends.testing`. Must never: decide what a saga may do, or write a
saga's rows.
"""
