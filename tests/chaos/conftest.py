"""Fixtures of the chaos of services, from `services_scene.py`."""

from services_scene import shop, shop_databases

__all__ = ["shop", "shop_databases"]
