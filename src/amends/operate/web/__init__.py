"""The HTTP API, its guard, and what the pages of the dashboard stand on. Thin over `operate`: it may import that, and
Starlette, which comes with the extra `web`."""
