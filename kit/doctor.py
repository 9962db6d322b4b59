"""`kit doctor`: what this machine and this environment can do, and what is missing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kit import __version__, device
from kit.files import cache_folder
from kit.notebook import Readable


@dataclass(frozen=True)
class Finding:
    """One line of the diagnosis: `status` is "ok", "missing" (the core needs it) or "optional"."""

    topic: str
    name: str
    status: str
    detail: str


@dataclass(frozen=True)
class Diagnosis(Readable):
    """What `doctor` found; `ok` is False when something the core needs is missing."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether everything that the core needs is there."""
        return all(finding.status != "missing" for finding in self.findings)

    def __str__(self) -> str:
        marks = {"ok": "✓", "missing": "✗", "optional": "·"}
        lines, topic = [], ""
        for finding in self.findings:
            if finding.topic != topic:
                topic = finding.topic
                lines.append(topic)
            lines.append(f"  {marks[finding.status]} {finding.name:<18} {finding.detail}")
        lines.append(
            "Everything the core needs is here." if self.ok else "Something is missing: see the lines with ✗."
        )
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Return the findings as a dictionary fit for JSON."""
        return {"ok": self.ok, "findings": [vars(finding) for finding in self.findings]}


def doctor() -> Diagnosis:
    """Examine versions, hardware, runtimes, folders and optional libraries.

    >>> import kit
    >>> kit.doctor().ok
    True
    """
    versions = _versions()
    core = [finding for finding in versions if finding.topic == "Core"]
    return Diagnosis((*core, *_hardware(), *_runtimes(), *_folders(), *versions[len(core) :]))


def _versions() -> list[Finding]:
    findings = [
        Finding("Core", "maaskit", "ok", f"{__version__} in {Path(__file__).parent}"),
        Finding("Core", "Python", "ok", f"{platform.python_version()} on {platform.platform()}"),
    ]
    try:
        lines = importlib.metadata.requires("maaskit") or []
    except importlib.metadata.PackageNotFoundError:
        detail = "only its source is here; run: pip install -c constraints.txt -e ."
        return [*findings, Finding("Core", "installation", "missing", detail)]
    from packaging.requirements import Requirement

    by_extra: dict[str, list[tuple[str, str | None]]] = {}
    for requirement in map(Requirement, lines):
        version = _version(requirement.name)
        if version and not requirement.specifier.contains(version, prereleases=True):
            version = None
        # Requirements of an extra carry the marker `extra == "its name"`.
        extra = str(requirement.marker).split('"')[1] if requirement.marker else ""
        by_extra.setdefault(extra, []).append((f"{requirement.name}{requirement.specifier}", version))
    for wanted, version in by_extra.pop("", []):
        detail = version or f"not installed; run: pip install '{wanted}'"
        findings.append(
            Finding("Core", re.split("[<>=!~]", wanted)[0], "ok" if version else "missing", detail)
        )
    by_extra.pop("all", None)  # the sum of the others
    return findings + [_extra(name, found) for name, found in by_extra.items()]


def _extra(name: str, found: list[tuple[str, str | None]]) -> Finding:
    absent = [wanted for wanted, version in found if version is None]
    if absent:
        detail = f"without {', '.join(absent)}; run: pip install -c constraints.txt -e '.[{name}]'"
        return Finding("Extras", name, "optional", detail)
    return Finding("Extras", name, "ok", ", ".join(f"{wanted} ({version})" for wanted, version in found))


def _version(name: str) -> str | None:
    # The GPU build of ONNX Runtime is another distribution with the same module.
    for distribution in (name, "onnxruntime-gpu") if name == "onnxruntime" else (name,):
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _hardware() -> list[Finding]:
    cores = f"{device.threads()} of {os.cpu_count()} may be used; load {device.load():.2f} per core"
    sets = ", ".join(device.instruction_sets()) or "none of those that speed up low precision"
    findings = [
        Finding("Hardware", "processor", "ok", device.processor()),
        Finding("Hardware", "cores", "ok", cores),
        Finding("Hardware", "instruction sets", "ok", sets),
    ]
    for precision in ("int8", "bf16"):
        found = device.accelerates(precision)
        detail = f"accelerated by {found}" if found else "no instruction set here makes it fast"
        findings.append(Finding("Hardware", precision, "ok" if found else "optional", detail))
    if find_spec("psutil"):
        import psutil

        memory = psutil.virtual_memory()
        free = f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"
        findings.append(Finding("Hardware", "memory", "ok", free))
    return findings


def _runtimes() -> list[Finding]:
    findings = []
    if find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
            findings.append(Finding("Runtimes", "CUDA", "ok", ", ".join(names)))
        else:
            findings.append(Finding("Runtimes", "CUDA", "optional", "no GPU that this torch can use"))
    if find_spec("onnxruntime"):
        import onnxruntime

        providers = ", ".join(onnxruntime.get_available_providers())
        findings.append(Finding("Runtimes", "ONNX Runtime", "ok", f"compiled in: {providers}"))
    if find_spec("openvino"):
        from kit.runtime.engines import openvino_core

        findings.append(Finding("Runtimes", "OpenVINO", "ok", ", ".join(openvino_core().available_devices)))
    return findings


def _folders() -> list[Finding]:
    findings = []
    for name, folder in (
        ("cache", cache_folder()),
        ("temporary", Path(tempfile.gettempdir())),
        ("here", Path.cwd()),
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                findings.append(Finding("Folders", name, "ok", f"{folder} can be written"))
        except OSError as error:
            status = "missing" if name == "temporary" else "optional"
            findings.append(Finding("Folders", name, status, f"{folder} cannot be written: {error.strerror}"))
    return findings
