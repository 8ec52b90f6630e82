"""`python -m bench`: all benchmarks.

Guarantees: none of its own.
Must not: do more than start them.
"""

from bench.run import main

if __name__ == "__main__":
    main()
