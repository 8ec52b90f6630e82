"""The demo: an order system under failures and kills, and a ledger that must balance.

Read in this order: `services.py` (what any service does), `sagas.py` (the order saga), `weather.py`
(what goes wrong), `story.py` (what happens when), `ledger.py` (what must hold in the end).
May import: the public names of amends, the session for reading, Click and Rich.
Must never: be imported by anything but the command line.
"""
