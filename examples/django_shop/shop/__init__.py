"""A shop in Django: an order and the saga that carries it out are one commit."""
