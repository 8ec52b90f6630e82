"""Placing an order over HTTP, and asking how it went."""

import json
import os

from django.db import IntegrityError
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET, require_POST

from amends.errors import UnknownSaga

from .orders import place, result
from .tasks import place_later


@csrf_exempt
@require_POST
def orders(request: HttpRequest) -> JsonResponse:
    """Place an order, or with `"later": true` have Celery place it."""
    body = json.loads(request.body)
    later = body.pop("later", False)
    if later:
        place_later.delay(**body)
        return JsonResponse({"process": os.getpid()}, status=202)
    try:
        order = place(**body)
    except IntegrityError:
        return JsonResponse({"error": "that voucher was used before"}, status=409)
    return JsonResponse({"order": order.pk, "process": os.getpid()}, status=201)


@require_GET
def order(request: HttpRequest, number: int) -> JsonResponse:
    """How an order went, after at most `?wait=` seconds."""
    try:
        return JsonResponse({"order": number, "result": result(number, float(request.GET.get("wait", 0.1)))})
    except UnknownSaga:
        return JsonResponse({"error": "there is no such order"}, status=404)
