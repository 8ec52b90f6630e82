"""Pictures of every page, wide and narrow, light and dark.

    PYTHONPATH=. python tests/browser/shots.py DIRECTORY [PAGE…]

Guarantees: what is seen is what a browser shows of a real shop.
Must not: test anything; whoever builds the pages looks.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, async_playwright
from scene import Scene, scene, served

import services.browser

PAGES = {
    "overview": "/",
    "sagas": "/sagas",
    "filtered": "/sagas?status=parked&saga=place-order",
    "none": "/sagas?key=no-such",
    "stuck": "/stuck",
    "parked": "/sagas/order-1",
    "refund": "/sagas/refund-1",
    "trip": "/sagas/trip-1",
    "slow": "/sagas/slow-1",
    "done": "/sagas/done-1",
    "act": "/sagas/order-1/act?verb=compensate",
    "signal": "/sagas/trip-1/act?verb=signal&step=approval",
    "bulks": "/bulk",
    "bulk-new": "/bulk/new?status=parked&verb=unpark",
    "workers": "/workers",
    "definitions": "/definitions",
    "definition": "/definitions/book-trip",
    "problem": "/sagas/no-such",
}
LOOKS = [(width, scheme) for width in (1280, 390) for scheme in ("light", "dark")]


async def main(out: Path, wanted: list[str]) -> None:
    """All of them, or those that are named."""
    with tempfile.TemporaryDirectory() as directory:
        database = f"sqlite:///{directory}/shop.db"
        async with scene(database) as made, served(made) as shop, async_playwright() as playwright:
            await shop.fill()
            await shop.settle()
            found = services.browser.browser()
            environment: dict[str, str | float | bool] = {**os.environ, **found.environment}
            browser = await playwright.chromium.launch(
                executable_path=found.program, env=environment, args=["--no-sandbox"]
            )
            for width, scheme in LOOKS:
                await look(browser, shop, out, width, scheme, wanted)
            await browser.close()


async def look(browser: Browser, shop: Scene, out: Path, width: int, scheme: str, wanted: list[str]) -> None:
    """Every page at one width, in one scheme."""
    given = {"viewport": {"width": width, "height": 900}, "color_scheme": scheme}
    context = await browser.new_context(**given)  # type: ignore[arg-type]  # playwright's are typed dicts
    page = await context.new_page()
    page.on("console", lambda message: print(f"{width} {scheme}: {message.text}"))  # noqa: T201
    await page.goto(f"{shop.url}/login")
    await page.screenshot(path=out / f"login-{width}-{scheme}.png")
    await page.fill("#token", shop.tokens["admin"])
    await page.press("#token", "Enter")
    await page.wait_for_url(f"{shop.url}/")
    for name, path in PAGES.items():
        if wanted and name not in wanted:
            continue
        await page.goto(shop.url + path)
        overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        if overflow > 0:
            print(f"{name} at {width}: {overflow} px too wide")  # noqa: T201
        await page.screenshot(path=out / f"{name}-{width}-{scheme}.png", full_page=True)
    await context.close()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
