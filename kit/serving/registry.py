"""The registry: models, their versions and which is the default; changed while requests flow."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kit.errors import KitError
from kit.serving.batching import Batcher
from kit.serving.place import Place, Settings, read_manifest, write_manifest
from kit.serving.refusal import Refusal
from kit.serving.servable import Servable, open_servable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kit.serving.metrics import Metrics

_log = logging.getLogger("kit.serving")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a model, open and with its queue."""

    model: str
    version: str
    folder: str
    servable: Servable
    batcher: Batcher


@dataclass
class Model:
    """A model's versions.

    Attributes:
        versions: those that answer.
        default: the one that answers when a request names none.
        before: the defaults before, oldest first: the way back.
        broken: versions that could not be opened when the worker began again, each with the reason.
    """

    versions: dict[str, Version] = field(default_factory=dict)
    default: str = ""
    before: list[str] = field(default_factory=list)
    broken: dict[str, tuple[str, str]] = field(default_factory=dict)


class Registry:
    """The models of one worker; what changes is stored, so that the next worker has it too."""

    def __init__(self, place: Place, settings: Settings, metrics: Metrics) -> None:
        self._place, self._settings, self._metrics = place, settings, metrics
        self._models: dict[str, Model] = {}
        self._change = asyncio.Lock()

    async def restore(self, *, strict: bool) -> None:
        """Open every model that is stored.

        Raises:
            KitError: when one cannot be opened and `strict`; else it is told in the index and the log.
        """
        for name, stored in read_manifest(self._place.models).items():
            model = self._models[name] = Model(before=list(stored["before"]))
            for version, folder in stored["versions"].items():
                try:
                    model.versions[version] = await self._open(name, version, folder)
                except KitError as error:
                    if strict:
                        raise
                    _log.exception("cannot open %s version %s", name, version)
                    model.broken[version] = (folder, str(error))
            model.default = stored["default"]

    def find(self, name: str, version: str | None = None) -> Version:
        """Return a version, the default if none is named.

        Raises:
            Refusal: 404 when there is no such model or version, 503 when it could not be opened.
        """
        model = self._models.get(name)
        if model is None:
            raise Refusal(404, f"no model {name[:80]!r} here; /v2/repository/index lists what is")
        wanted = version or model.default
        found = model.versions.get(wanted)
        if found is None:
            if wanted in model.broken:
                raise Refusal(503, f"model {name!r} version {wanted!r} cannot be opened at the moment")
            raise Refusal(
                404, f"model {name!r} has no version {wanted[:80]!r}; it has {', '.join(model.versions)}"
            )
        return found

    def versions(self, name: str) -> list[str]:
        """Return the versions of a model that answer."""
        return list(self._models[name].versions) if name in self._models else []

    @property
    def ready(self) -> bool:
        """Whether every model's default version answers."""
        return all(model.default in model.versions for model in self._models.values())

    def index(self) -> Iterator[dict[str, Any]]:
        """Yield each version: its name, whether it answers, and if not, why."""
        for name, model in self._models.items():
            for version in (*model.versions, *model.broken):
                reason = model.broken.get(version, ("", ""))[1]
                state = "UNAVAILABLE" if reason else "READY"
                about = {} if reason else model.versions[version].servable.about
                default = version == model.default
                yield {
                    "name": name,
                    "version": version,
                    "state": state,
                    "reason": reason,
                    "default": default,
                } | about

    async def load(self, name: str, folder: str, version: str | None, *, default: bool) -> str:
        """Open a version beside the others, then let it answer; return its name.

        Raises:
            Refusal: 409 when the version is there already.
            KitError: when it cannot be opened; all stays as it was.
        """
        async with self._change:
            model = self._models.get(name) or Model()
            numbers = [int(v) for v in (*model.versions, *model.broken) if v.isdigit()]
            chosen = version or str(max(numbers, default=0) + 1)
            if chosen in model.versions:
                raise Refusal(409, f"model {name!r} has a version {chosen!r} already; unload it first")
            opened = await self._open(name, chosen, folder)
            model.versions[chosen] = opened
            model.broken.pop(chosen, None)
            self._models[name] = model
            if default or not model.default:
                _make_default(model, chosen)
            self._store()
            _log.info(
                "loaded", extra={"fields": {"model": name, "version": chosen, "default": model.default}}
            )
            return chosen

    async def unload(self, name: str, version: str | None) -> None:
        """Take a version (or a whole model) away once the requests it has have been answered."""
        async with self._change:
            model = self._models.get(name)
            if model is None or (version and version not in (*model.versions, *model.broken)):
                raise Refusal(404, f"no model {name[:80]!r} version {version or 'any'!r} here")
            going = [version] if version else [*model.versions, *model.broken]
            gone = [model.versions.pop(v) for v in going if v in model.versions]
            for v in going:
                model.broken.pop(v, None)
            model.before = [v for v in model.before if v in model.versions]
            if not model.versions and not model.broken:
                del self._models[name]
            elif model.default not in model.versions:
                model.default = model.before.pop() if model.before else next(reversed(model.versions), "")
            self._store()
            for one in gone:
                await one.batcher.close()
                self._metrics.forget(name, one.version)
            _log.info("unloaded", extra={"fields": {"model": name, "versions": going}})

    async def make_default(self, name: str, version: str | None) -> str:
        """Let a version answer from now on; None goes back to the default before.

        Raises:
            Refusal: 404 when there is no such version, 409 when there is no way back.
        """
        async with self._change:
            model = self._models.get(name)
            if version is None and model is not None:
                if not model.before:
                    raise Refusal(409, f"model {name!r} has had no other default version")
                model.default = model.before.pop()
            else:
                chosen = self.find(name, version).version
                _make_default(self._models[name], chosen)
            self._store()
            return self._models[name].default

    async def _open(self, name: str, version: str, folder: str) -> Version:
        path = Path(folder)
        servable = await asyncio.to_thread(open_servable, path, batch=self._settings.batch)
        files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
        size = sum(file.stat().st_size for file in files)
        batchers: list[Batcher] = []
        observe = self._metrics.watch(name, version, size, lambda: batchers[0].depth if batchers else 0)
        batchers.append(
            Batcher(servable, waiting=self._settings.waiting, seconds=self._settings.seconds, observe=observe)
        )
        return Version(name, version, folder, servable, batchers[0])

    def _store(self) -> None:
        write_manifest(
            self._place.models,
            {
                name: {
                    "default": model.default,
                    "before": model.before,
                    "versions": {v: one.folder for v, one in model.versions.items()}
                    | {v: folder for v, (folder, _) in model.broken.items()},
                }
                for name, model in self._models.items()
            },
        )


def _make_default(model: Model, version: str) -> None:
    if model.default and model.default != version:
        model.before.append(model.default)
    model.default = version
