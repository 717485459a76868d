"""Typed settings, read once at start from the environment and ``.env`` and passed on explicitly."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

CONFIG_DIR = Path(__file__).resolve().parent
PROJECT_DIR = CONFIG_DIR.parent


class SettingsError(Exception):
    """A setting cannot be used; the message names it and says what to do."""


class Settings(BaseSettings):
    """Everything that an operator can set. Names in the environment carry the prefix ``MNEME_``."""

    model_config = SettingsConfigDict(
        env_prefix="MNEME_", env_file=".env", env_file_encoding="utf-8", extra="ignore", populate_by_name=True
    )

    discord_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DISCORD_TOKEN"))
    database_url: SecretStr | None = Field(default=None, validation_alias=AliasChoices("DATABASE_URL"))
    secret: SecretStr | None = None
    data_dir: Path = PROJECT_DIR / "data" / "runtime"
    models_dir: Path | None = None
    profile: str | None = None
    remember: Literal["all", "opt-in"] = "all"
    llm_base_url: str | None = None
    llm_model: str | None = None
    llm_api_key: SecretStr | None = None
    llm_context_tokens: int = Field(default=2000, ge=200, le=100_000)
    reranker_api_key: SecretStr | None = None
    web: str | None = None
    web_hosts: str = ""
    web_url: str | None = None
    metrics_token: SecretStr | None = None
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    operators: str = ""
    commands_per_minute: int = Field(default=30, ge=0)
    replies_per_minute: int = Field(default=6, ge=0)
    channel_replies_per_minute: int = Field(default=20, ge=0)
    guild_grace_days: int = Field(default=7, ge=0, le=365)
    webhooks: Literal["all", "known"] = "all"
    pluralkit_url: str | None = None
    rewrite_hours: float = Field(default=6.0, gt=0, le=720)
    trust_remote_code: str = ""
    profiles_file: Path = CONFIG_DIR / "profiles.yaml"
    rerankers_file: Path = CONFIG_DIR / "rerankers.yaml"

    @field_validator(
        "discord_token", "database_url", "llm_api_key", "reranker_api_key", "metrics_token", "secret", mode="before"
    )
    @classmethod
    def _empty_is_absent(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("operators")
    @classmethod
    def _ids_with_commas(cls, value: str) -> str:
        if not all(part.isascii() and part.isdecimal() for part in value.replace(" ", "").split(",") if part):
            raise ValueError("It takes the ids of Discord users with commas between them")
        return value

    @field_validator("profile", "llm_base_url", "llm_model", "web", "web_url", "pluralkit_url", mode="before")
    @classmethod
    def _blank_is_absent(cls, value: object) -> object:
        return None if isinstance(value, str) and not value.strip() else value

    @property
    def sqlalchemy_url(self) -> str:
        """The database's URL; SQLite inside the data folder unless ``DATABASE_URL`` names another."""
        if self.database_url is not None:
            url = self.database_url.get_secret_value()
            for plain in ("postgres://", "postgresql://"):
                if url.startswith(plain):
                    return "postgresql+psycopg://" + url.removeprefix(plain)
            return url
        return f"sqlite:///{self.data_dir / 'mneme.db'}"

    @property
    def models_folder(self) -> Path:
        """Where fetched and exported models live; several data folders may share one."""
        return self.models_dir or self.data_dir / "models"

    @property
    def data_dir_was_set(self) -> bool:
        """Whether the operator chose the data folder."""
        return "data_dir" in self.model_fields_set

    @property
    def operator_ids(self) -> frozenset[int]:
        """The Discord users who may do what concerns every server of this bot."""
        return frozenset(int(name) for name in self.operators.replace(" ", "").split(",") if name)

    @property
    def trusted_models(self) -> frozenset[str]:
        """The models whose own code the operator allows to run, by name."""
        return frozenset(name.strip() for name in self.trust_remote_code.split(",") if name.strip())


def load_settings(**overrides: object) -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a value is bad; the sentence names the variable and never repeats a secret.
    """
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        field = str(first["loc"][0]) if first["loc"] else "a setting"
        name = field if field.isupper() else f"MNEME_{field.upper()}"
        raise SettingsError(
            f"{name} cannot be used: {first['msg'][0].lower()}{first['msg'][1:]}. "
            "Correct it in the environment or in .env."
        ) from None
