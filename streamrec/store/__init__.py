"""Parameter stores: commits go in atomically, generations come out. See `base.py` for the contract, `registry.py` for the URLs."""

from streamrec.store.registry import open_store

__all__ = ["open_store"]
