"""Commits go in atomically, generations come out. The contract is in `base.py`, URLs in `registry.py`."""

from streamrec.store.registry import open_store

__all__ = ["open_store"]
