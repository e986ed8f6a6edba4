"""streamrec: streaming online learning for recommendations and ads."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from streamrec.models.linear import FTRL

__all__ = ["FTRL", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Import public names when they are first used: `import streamrec` stays light."""
    if name == "FTRL":
        from streamrec.models.linear import FTRL

        return FTRL
    raise AttributeError(f"module 'streamrec' has no attribute {name!r}")
