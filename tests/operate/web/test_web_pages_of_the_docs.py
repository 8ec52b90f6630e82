"""The pages on the HTTP API and on limits say what the code has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from web_scene import access

from amends.operate.web.access import Right
from amends.operate.web.app import web
from amends.operate.web.context import Limits
from amends.operate.web.problems import WebError
from amends.operate.web.routing import Guarded

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"
TAKES = {Right.VIEW: "viewer", Right.OPERATE: "operator", Right.ADMIN: "admin"}


def rows(page: str) -> list[list[str]]:
    """The rows of all tables of a page."""
    lines = re.findall(r"^\| (.*?) ?\|$", (REFERENCE / page).read_text(), re.M)
    return [[cell.strip().strip("`") for cell in line.split(" |")] for line in lines]


def test_every_route_of_the_api_is_in_its_table_with_who_may_ask_it() -> None:
    told = {row[0]: row[1] for row in rows("http-api.md") if row[0].startswith(("GET /", "POST /"))}
    there = {
        f"{method} {route.path.removeprefix('/api/v1')}": TAKES[route.right]
        for route in web("memory://", access=access()).routes
        if isinstance(route, Guarded) and route.path.startswith("/api/v1")
        for method in (route.methods or set()) - {"HEAD"}
    }

    assert told == there


def test_every_code_of_its_own_is_in_its_table_with_the_status() -> None:
    told = {row[0]: row[1] for row in rows("http-api.md") if len(row) == 3 and row[1].isdecimal()}
    codes = {kind.code: str(kind.status) for kind in WebError.__subclasses__()}

    assert {**codes, "no-such-page": "404", "method": "405", "unforeseen": "500"} == told


def test_every_limit_is_in_the_table_of_limits_with_its_default() -> None:
    told = {row[0]: row[1] for row in rows("limits.md")}

    for field in fields(Limits):
        assert told[field.name] == f"{int(getattr(Limits(), field.name)):,}", field.name
