"""An order system of four processes: a web process, the order service, inventory and payment.

    python -m examples.order_system --broker=nats

Each service has a PostgreSQL database of its own; the services meet at Kafka, RabbitMQ, NATS or Redis, or, without
any broker, in one process. `README.md` says what is where.
"""
