"""Settings: read from the environment once, in a process's `__main__`, and handed on as arguments."""

import base64
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _read_key(text: str) -> bytes:
    key = base64.b64decode(text, validate=True)
    if len(key) != 32:
        raise ValueError("must be the base64 of 32 bytes")
    return key


# A secret key of 32 bytes, written in base64.
Key = Annotated[bytes, BeforeValidator(_read_key)]


class ProcessSettings(BaseSettings):
    """What every process takes. Each field is an environment variable SKUTRAIL_<NAME>."""

    model_config = SettingsConfigDict(
        env_prefix="SKUTRAIL_",
        frozen=True,
        hide_input_in_errors=True,  # a start that fails must not print a password
    )

    log_level: str = "info"


class Settings(ProcessSettings):
    """What every process with a database takes."""

    # postgresql://role:password@host:port/database, with the role that may do only what the process does.
    database_url: str


class ServiceSettings(Settings):
    """What every gRPC service takes."""

    nats_url: str
    grpc_listen: str = "127.0.0.1:50051"
    # After their publication. Longer than a consumer may be in trouble: whatever it has not taken is kept here too.
    events_kept_hours: int = Field(default=72, ge=1, le=7 * 24)

    @property
    def events_kept(self) -> timedelta:
        return timedelta(hours=self.events_kept_hours)
