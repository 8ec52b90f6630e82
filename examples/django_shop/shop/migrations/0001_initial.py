"""The shop's tables, as `python manage.py makemigrations` wrote them."""

# ruff: noqa: RUF012  # Django writes its migrations like this

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Order",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("sku", models.CharField(max_length=40)),
                ("quantity", models.PositiveIntegerField()),
                ("cents", models.PositiveIntegerField()),
                ("status", models.CharField(default="placed", max_length=20)),
            ],
        ),
        migrations.CreateModel(
            name="Reservation",
            fields=[
                ("key", models.CharField(max_length=200, primary_key=True, serialize=False)),
                ("sku", models.CharField(max_length=40)),
                ("quantity", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Stock",
            fields=[
                ("sku", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("left", models.PositiveIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="Voucher",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("code", models.CharField(max_length=40, unique=True)),
                ("order", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, to="shop.order")),
            ],
        ),
    ]
