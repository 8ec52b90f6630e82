"""Servers for tests, benchmarks and trying things out: private, on loopback, gone when their user is gone.

These are the project's own scripts, not part of what is installed with amends. They may import the
standard library and the development tools, and nothing of amends itself.

    python -m services install     # what is missing, unpacked into .services/ of the checkout
    python -m services up          # all of them in the foreground, with their URLs
    python -m services up kafka    # one of postgres, pgbouncer, rabbitmq, nats, redis, kafka; or several
"""
