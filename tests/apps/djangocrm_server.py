"""Django-CRM, kept open: actions of its users through its own models, validation included.

Runs in Django-CRM's environment. Outside `transaction.atomic` each statement commits by itself, so a dump sees what
others have committed.
"""

from __future__ import annotations

import os
from typing import Any

import django  # type: ignore[import-not-found]
from stdin_actions import serve  # type: ignore[import-not-found]

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "djangocrm_settings")
django.setup()

from crm.models import Company, Country  # type: ignore[import-not-found]  # noqa: E402  (after setup only)
from django.contrib.auth import get_user_model  # type: ignore[import-not-found]  # noqa: E402
from django.db import transaction  # type: ignore[import-not-found]  # noqa: E402

FIELDS = ("email", "phone", "address", "city_name", "website", "region", "registration_number")


def save(record: Any) -> int:
    record.full_clean(exclude=["token"])
    record.save()
    pk: int = record.pk
    return pk


def company(name: str, email: str, country: str | None = None, **values: str) -> int:
    user = get_user_model().objects.order_by("id").first()
    record = Company(full_name=name, email=email, owner=user, modified_by=user, **values)
    if country is not None:
        record.country = Country.objects.get(name=country)
    return save(record)


@transaction.atomic  # type: ignore[untyped-decorator]
def many(names: list[str]) -> list[int]:
    return [company(name, "office@example.com") for name in names]


def set_fields(id: int, values: dict[str, Any]) -> None:
    record = Company.objects.get(pk=id)
    for name, value in values.items():
        setattr(record, name, value)
    save(record)


def delete(id: int) -> None:
    Company.objects.get(pk=id).delete()


def dump() -> list[dict[str, Any]]:
    """The companies as Django-CRM itself sees them."""
    return [shown(record) for record in Company.objects.select_related("country", "owner").order_by("id")]


def shown(record: Any) -> dict[str, Any]:
    return {
        "id": record.pk,
        "name": record.full_name,
        "disqualified": record.disqualified,
        "active": record.active,
        "country": record.country and record.country.name,
        "owner": record.owner and record.owner.username,
        "creation_date": record.creation_date and record.creation_date.isoformat(),
        "update_date": record.update_date and record.update_date.isoformat(),
        **{name: getattr(record, name) for name in FIELDS},
    }


if __name__ == "__main__":
    serve({"company": company, "many": many, "set": set_fields, "delete": delete, "dump": dump})
