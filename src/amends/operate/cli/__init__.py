"""The command line: verbs over `operations.py`, and the verbs that run sagas.

Each verb is one small module, imported when it is called for, so that `amends --help` costs
nothing. What a person reads goes through `output.py`, what went wrong through `main.py`.
"""

from amends.operate.cli.main import main

__all__ = ["main"]
