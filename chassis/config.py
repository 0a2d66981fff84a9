"""Settings: read from the environment once, in a process's `__main__`, and handed on as arguments."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every process takes. Each field is an environment variable SKUTRAIL_<NAME>."""

    model_config = SettingsConfigDict(env_prefix="SKUTRAIL_", frozen=True)

    log_level: str = "info"
    # postgresql://role:password@host:port/database, with the role that may do only what the process does.
    database_url: str


class ServiceSettings(Settings):
    """What every gRPC service takes."""

    nats_url: str
    grpc_listen: str = "127.0.0.1:50051"
