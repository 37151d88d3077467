"""The only reader of the environment: one frozen object per process."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import quote

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.errors import Misconfigured
from shared.states import Lane

#: Variables that a runner may see although their names look like secrets'.
_HARMLESS = frozenset({"FITQ_DATASETS"})
_SECRET_WORDS = ("PASSWORD", "PASSWD", "SECRET", "TOKEN", "_KEY", "CREDENTIAL", "DATABASE_URL", "BROKER_URL", "DSN")


class Settings(BaseSettings):
    """Every setting, with its default. Each is the environment variable `FITQ_<NAME>`."""

    model_config = SettingsConfigDict(env_prefix="FITQ_", frozen=True, env_ignore_empty=True, extra="ignore")

    #: Folder of the embedded stack's state: database, broker, volume, logs.
    home: Path = Path(".fitq")
    #: Address that the API listens on.
    host: str = "127.0.0.1"
    #: Port that the API listens on; 0 takes any free one.
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    #: Names, beside `host` and localhost's, by which browsers and proxies may reach an API that listens on localhost.
    allowed_hosts: str = ""
    #: SQLAlchemy URL of the database. Default: SQLite below `home`.
    database_url: str = ""
    #: Celery broker URL. Default: the embedded stack's own Valkey, or `memory://` inside a lone worker.
    broker_url: str = ""
    #: The shared folder that holds data, checkpoints and artifacts. Default: `volume` below `home`.
    volume: Path | None = None
    #: A folder that holds the files of `keras.datasets` (as `~/.keras/datasets` does).
    datasets: Path | None = None
    #: Seconds that `keras.datasets` may take to download a file.
    dataset_timeout_s: Annotated[float, Field(gt=0)] = 20.0
    #: Largest content that is taken as an upload, MiB.
    upload_max_mb: Annotated[int, Field(ge=1, le=1 << 30)] = 32768
    #: Days for which an upload stays that no job needs and nobody asks for.
    upload_keep_days: Annotated[float, Field(ge=1, le=36_500)] = 30.0
    #: What jobs and uploads together may leave on the volume, MiB.
    volume_max_mb: Annotated[int, Field(ge=1, le=1 << 40)] | None = None
    #: Jobs that one worker runs at a time. Default: half of the machine's cores.
    slots: Annotated[int, Field(ge=1, le=256)] = max(1, (os.cpu_count() or 2) // 2)
    #: Lanes that a worker serves, separated by commas.
    lanes: Annotated[tuple[Lane, ...], NoDecode] = (Lane.CPU, Lane.INTERACTIVE)
    #: Seconds for which an attempt owns its job without renewing.
    lease_s: Annotated[float, Field(ge=0.5, le=3600)] = 30.0
    #: Seconds that an orderly shutdown may take before runners are killed.
    drain_s: Annotated[float, Field(gt=0, le=3600)] = 25.0
    #: `console` for people, `json` for machines.
    log_format: Literal["console", "json"] = "console"
    #: Packages of the site's own, separated by commas, that each runner imports before its job.
    site_packages: str = ""

    @field_validator("lanes", mode="before")
    @classmethod
    def _split_lanes(cls, value: object) -> object:
        return tuple(filter(None, value.replace(" ", "").split(","))) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _paths_are_absolute(self) -> Self:
        # Children of one process must agree on the folders, whatever directory each is started in.
        object.__setattr__(self, "home", self.home.expanduser().resolve())
        object.__setattr__(self, "volume", (self.volume or self.home / "volume").expanduser().resolve())
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{quote(str(self.home / 'fitq.db'))}")
        if not self.broker_url:
            object.__setattr__(self, "broker_url", "memory://")
        return self

    @cached_property
    def volume_path(self) -> Path:
        """The volume's folder."""
        assert self.volume is not None  # noqa: S101 - set by the validator above
        return self.volume

    @property
    def volume_max_bytes(self) -> int | None:
        """What jobs and uploads together may leave on the volume; None for no limit."""
        return None if self.volume_max_mb is None else self.volume_max_mb << 20

    @property
    def beat_s(self) -> float:
        """Seconds between two renewals of a lease."""
        return self.lease_s / 6

    @property
    def bell_s(self) -> float:
        """Seconds between two rounds of the bell loop."""
        return min(2.0, self.lease_s / 6)

    @property
    def embedded_broker(self) -> bool:
        """Whether messages cannot leave this process, so that a worker must ring its own bell."""
        return self.broker_url.startswith("memory://")


def load() -> Settings:
    """Read the environment. Raise `Misconfigured` naming each variable that is wrong."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"FITQ_{'_'.join(map(str, e['loc'][:1])).upper()}: {e['msg']}" for e in error.errors()]
        raise Misconfigured("; ".join(lines)) from error


def drop_secrets() -> None:
    """Take credentials out of this process's environment, so that the children it starts have none."""
    for name in list(os.environ):
        if name not in _HARMLESS and any(word in name.upper() for word in _SECRET_WORDS):
            del os.environ[name]


def environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes`, for a child process."""
    return {**os.environ, **changes}
