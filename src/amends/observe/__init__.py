"""Stage: what may be seen of amends at work. Events, who is told of them, and what is made of them: metrics and logs.

May import: decide, message, errors.
Must never: change what happens, hold a payload, or cost anything where nobody looks.
"""
