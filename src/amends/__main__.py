"""`python -m amends`: the command line."""

from amends.operate.cli.main import main

if __name__ == "__main__":
    main()
