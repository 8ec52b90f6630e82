"""The shop's own tables."""

# Without Django's plugin for mypy, checkers know the types of fields in part only.
# mypy: disable-error-code="var-annotated"
# pyright: reportUnknownVariableType=false

from django.db import models


class Stock(models.Model):
    sku = models.CharField(max_length=40, primary_key=True)
    left = models.PositiveIntegerField()


class Order(models.Model):
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
    cents = models.PositiveIntegerField()
    status = models.CharField(max_length=20, default="placed")


class Voucher(models.Model):
    """A voucher is used once, whatever happens: the database sees to that."""

    code = models.CharField(max_length=40, unique=True)
    order = models.ForeignKey(Order, on_delete=models.CASCADE)


class Reservation(models.Model):
    """What a step has taken from the stock, by the step's key: asking twice takes once."""

    key = models.CharField(max_length=200, primary_key=True)
    sku = models.CharField(max_length=40)
    quantity = models.PositiveIntegerField()
