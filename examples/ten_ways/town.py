"""A fake town for the ten examples: a shelf, a customer with a purse, a shop with a till. And the law: what is sold is
paid for and sent; else everything is as it was.
"""

from dataclasses import dataclass, field

from amends import Completed


@dataclass(frozen=True)
class Order:
    cents: int


@dataclass
class Town:
    shelf: int = 10
    purse: int = 10_000
    till: int = 0
    sent: int = 0
    held: set[str] = field(default_factory=set[str])
    paid: dict[str, int] = field(default_factory=dict[str, int])
    letters: list[str] = field(default_factory=list[str])

    def hold(self, key: str) -> None:
        if key not in self.held:
            self.held.add(key)
            self.shelf -= 1

    def put_back(self, key: str) -> None:
        if key in self.held:
            self.held.remove(key)
            self.shelf += 1

    def pay(self, cents: int, key: str) -> None:
        if key not in self.paid:
            self.paid[key] = cents
            self.move(cents)

    def pay_back(self, key: str) -> None:
        self.move(-self.paid.pop(key, 0))

    def move(self, cents: int) -> None:
        self.purse -= cents
        self.till += cents


def fair(town: Town, outcome: object) -> None:
    sold = isinstance(outcome, Completed)
    assert town.purse + town.till == 10_000, f"{town.purse} + {town.till} is not what there was"
    assert town.till == (2_500 if sold else 0), f"{town.till} in the till, {'sold' if sold else 'nothing sold'}"
    assert town.shelf == (9 if sold else 10), f"{town.shelf} on the shelf, {'sold' if sold else 'nothing sold'}"


ORDER = Order(2_500)
