"""The pages of the dashboard: made by the server, followed live, whole without a script. Thin over `operate`; it may
import that, Starlette and Jinja, which come with the extra `web`."""

from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from amends.operate.web.access import Right
from amends.operate.web.pages import acting, bulk, others, overview, saga, sagas
from amends.operate.web.pages.others import problem_page
from amends.operate.web.pages.render import STATIC
from amends.operate.web.routing import route

__all__ = ["problem_page", "routes"]

POST = ("POST",)


def routes() -> list[BaseRoute]:
    """All pages, each with the right that it demands."""
    view, operate = Right.VIEW, Right.OPERATE
    return [
        route("/", overview.overview, right=view),
        route("/sagas", sagas.sagas, right=view),
        route("/sagas/{id}", saga.saga, right=view),
        route("/sagas/{id}/act", acting.ask, right=operate, name="act"),
        route("/sagas/{id}/act", acting.do, right=operate, methods=POST),
        route("/sagas/{id}/assign", acting.assign, right=operate, methods=POST),
        route("/sagas/{id}/note", acting.note, right=operate, methods=POST),
        route("/stuck", sagas.stuck, right=view),
        route("/bulk", bulk.bulks, right=view),
        route("/bulk", bulk.start, right=operate, methods=POST, name="bulk-start"),
        route("/bulk/new", bulk.new, right=operate, name="bulk-new"),
        route("/bulk/new", bulk.look, right=operate, methods=POST, name="bulk-look"),
        route("/bulk/{id}", bulk.bulk, right=view),
        route("/bulk/{id}", bulk.move, right=operate, methods=POST, name="bulk-move"),
        route("/workers", others.workers, right=view),
        route("/definitions", others.definitions, right=view),
        route("/definitions/{name}", others.definition, right=view),
        route("/login", others.login, right=Right.OPEN),
        route("/login", others.log_in, right=Right.OPEN, methods=POST),
        route("/logout", others.log_out, right=view, methods=POST),
        Mount("/static", StaticFiles(directory=STATIC), name="static"),
    ]
