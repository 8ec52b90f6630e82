"""`python -m amends.operate.demo`: the same as `amends demo`.

Guarantees: nothing of its own.
Must not: do anything else.
"""

from amends.operate.cli.demo import demo

if __name__ == "__main__":
    demo(prog_name="amends demo")
