"""The settings. DATABASE_URL names the database, of Django's tables and of the sagas alike."""

import os
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DATABASE_URL = os.environ.get("DATABASE_URL", f"sqlite:///{Path(__file__).parents[1] / 'shop.db'}")


def database(url: str) -> dict[str, Any]:
    """A database of a URL, as Django wants it."""
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        # A transaction that begins by reading cannot always go on to write: begin as a writer.
        options = {"transaction_mode": "IMMEDIATE", "timeout": 20}
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": parts.path[1:], "OPTIONS": options}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": parts.hostname or "",
        "PORT": parts.port or "",
        "CONN_MAX_AGE": 60,
    }


DATABASES = {"default": database(DATABASE_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["shop"]
ROOT_URLCONF = "shop.urls"
SECRET_KEY = os.environ.get("SECRET_KEY", "only for trying it out")
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
USE_TZ = True

# Celery, with a broker that is a directory: enough to try it out on one machine.
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL", "filesystem://")
_MAIL = os.environ.get("CELERY_FOLDER", str(Path(__file__).parents[1] / "celery"))
Path(_MAIL, "control").mkdir(parents=True, exist_ok=True)
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": _MAIL,
    "data_folder_out": _MAIL,
    "control_folder": f"{_MAIL}/control",
}
