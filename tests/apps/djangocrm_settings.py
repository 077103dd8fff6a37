"""Django-CRM's packaged settings with a database of the test's own (environment: CRM_PORT, CRM_DATABASE)."""

from __future__ import annotations

import os

from webcrm.settings import *  # type: ignore[import-not-found]  # noqa: F403

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": os.environ["CRM_DATABASE"],
        "USER": "crm",
        "PASSWORD": "crm",
        "HOST": "127.0.0.1",
        "PORT": os.environ["CRM_PORT"],
        "OPTIONS": {"charset": "utf8mb4"},
    }
}
