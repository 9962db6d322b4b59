"""maaskit: the whole life of a model as a service, from a notebook.

Names are resolved on first use (PEP 562): `import kit` loads neither torch nor any other library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from kit import (
        data as data,
    )
    from kit import (
        device as device,
    )
    from kit import (
        errors as errors,
    )
    from kit import (
        models as models,
    )
    from kit import (
        notebook as notebook,
    )
    from kit import (
        plots as plots,
    )
    from kit import (
        widgets as widgets,
    )
    from kit.compression.distillation.distill import distill as distill
    from kit.compression.packing.codebook import cluster as cluster
    from kit.compression.packing.squeeze import squeeze as squeeze
    from kit.compression.pruning.prune import prune as prune
    from kit.compression.pruning.sensitivity import sensitivity as sensitivity
    from kit.compression.quantization.bits import bit_sensitivity as bit_sensitivity
    from kit.compression.quantization.quantize import quantize as quantize
    from kit.compression.runtimes.fastest import fastest as fastest
    from kit.compression.search.budget import Budget as Budget
    from kit.compression.search.recipes import Space as Space
    from kit.compression.search.search import search as search
    from kit.conversion.convert import convert as convert
    from kit.conversion.export import export as export
    from kit.doctor import doctor as doctor
    from kit.measurement.benchmark import benchmark as benchmark
    from kit.measurement.compare import Comparison as Comparison
    from kit.measurement.compare import compare as compare
    from kit.measurement.evaluate import agreement as agreement
    from kit.measurement.evaluate import evaluate as evaluate
    from kit.notebook import fast as fast
    from kit.runtime.folder import load as load
    from kit.runtime.folder import save as save
    from kit.runtime.packed import pack as pack
    from kit.runtime.pipelines.pipeline import pipeline as pipeline
    from kit.runtime.sealed import seal as seal
    from kit.runtime.sealed import unseal as unseal
    from kit.runtime.session import open as open  # noqa: A004 -- the verb for every format
    from kit.serving.serve import find_service as find_service
    from kit.serving.serve import serve as serve
    from kit.serving.serve import services as services
    from kit.training.train import train as train
    from kit.variant import Variant as Variant

_VERBS = {
    "train": "kit.training.train",
    "evaluate": "kit.measurement.evaluate",
    "agreement": "kit.measurement.evaluate",
    "prune": "kit.compression.pruning.prune",
    "sensitivity": "kit.compression.pruning.sensitivity",
    "quantize": "kit.compression.quantization.quantize",
    "bit_sensitivity": "kit.compression.quantization.bits",
    "distill": "kit.compression.distillation.distill",
    "cluster": "kit.compression.packing.codebook",
    "squeeze": "kit.compression.packing.squeeze",
    "fastest": "kit.compression.runtimes.fastest",
    "search": "kit.compression.search.search",
    "Budget": "kit.compression.search.budget",
    "Space": "kit.compression.search.recipes",
    "convert": "kit.conversion.convert",
    "export": "kit.conversion.export",
    "open": "kit.runtime.session",
    "save": "kit.runtime.folder",
    "load": "kit.runtime.folder",
    "pack": "kit.runtime.packed",
    "pipeline": "kit.runtime.pipelines.pipeline",
    "seal": "kit.runtime.sealed",
    "unseal": "kit.runtime.sealed",
    "benchmark": "kit.measurement.benchmark",
    "compare": "kit.measurement.compare",
    "Comparison": "kit.measurement.compare",
    "serve": "kit.serving.serve",
    "find_service": "kit.serving.serve",
    "services": "kit.serving.serve",
    "Variant": "kit.variant",
    "doctor": "kit.doctor",
    "fast": "kit.notebook",
}
_ROOMS = ("data", "device", "errors", "models", "notebook", "plots", "widgets")

__all__ = [  # noqa: PLE0604 -- the two tables above are the one list of what is public
    "__version__",
    *_VERBS,
    *_ROOMS,
]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        value = getattr(import_module(_VERBS[name]), name)
    elif name in _ROOMS:
        value = import_module(f"kit.{name}")
    else:
        from kit.errors import nearest

        raise AttributeError(f"kit has no {name!r}{nearest(name, __all__)}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
