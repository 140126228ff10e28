"""Values that are made for every request: frozen by the type checker instead of at run time.

A frozen dataclass takes three times as long to make as another one, and each request makes half a
dozen. Nothing may change one all the same: they are shared by the core, observers and traces.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:
    from dataclasses import dataclass

    def value(**options: Any) -> Any:
        """As `dataclass(**options)`, comparable and hashable, but not protected when frozen."""
        return dataclass(**{**options, "frozen": False, "unsafe_hash": True})


__all__ = ["value"]
