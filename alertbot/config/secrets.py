"""Every secret of a configuration, so that logs can be kept clean of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, SecretStr


def plain(secret: SecretStr | None) -> str:
    """A secret's text; empty where there is none."""
    return "" if secret is None else secret.get_secret_value()


def secrets_of(value: object) -> Iterator[str]:
    """The plain text of each secret in a settings model, at any depth."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from secrets_of(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from secrets_of(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from secrets_of(item)
