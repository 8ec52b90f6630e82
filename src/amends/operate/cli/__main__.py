"""`python -m amends.operate.cli`."""

from amends.operate.cli.main import main

if __name__ == "__main__":
    main()
