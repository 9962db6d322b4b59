"""The gate: what a model file must be before anything opens it.

A file is known by its content, not by its name. What could run code, read another file, or need far more
memory than its size is refused with one line, before a library with a parser of its own sees it.
"""

from kit.runtime.gate.entrance import identify, inspect
from kit.runtime.gate.onnx_file import check, read, side_files, tensors

__all__ = ["check", "identify", "inspect", "read", "side_files", "tensors"]
