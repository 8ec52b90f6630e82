"""The little shop's web application, for several uvicorn processes beside one worker."""

from __future__ import annotations

import os

from fastapi import FastAPI, HTTPException
from little import SAGAS, Approval, Order, approval, approved_saga, orchestrator

from amends.errors import AmendsError
from amends.store.base import Filter

app = FastAPI(lifespan=orchestrator.client_lifespan)
BY_NAME = {saga.name: saga for saga in SAGAS}


@app.post("/{name}/{saga_id}")
async def start(name: str, saga_id: str, cents: int = 100, refused: bool = False) -> dict[str, object]:
    """Start a saga."""
    handle = await orchestrator.start(BY_NAME[name], Order(cents, refused), id=saga_id)
    return {"id": handle.saga_id, "process": os.getpid()}


@app.post("/approve")
async def approve(saga_id: str, granted: bool) -> dict[str, object]:
    """Answer a wait."""
    try:
        await orchestrator.signal(saga_id, approval, Approval(granted))
    except AmendsError as error:
        raise HTTPException(409, error.code) from None
    return {"process": os.getpid()}


@app.get("/outcome/{saga_id}")
async def outcome(saga_id: str) -> dict[str, object]:
    """Wait for a saga's end."""
    found = await orchestrator.handle(approved_saga, saga_id).outcome(timeout=60)
    return {"outcome": type(found).__name__, "process": os.getpid()}


@app.get("/list")
async def listed() -> dict[str, object]:
    """All sagas."""
    heads = await orchestrator.session.store.find(Filter(limit=1000))
    return {"statuses": {head.key: head.status for head in heads}, "process": os.getpid()}
