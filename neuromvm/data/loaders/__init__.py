"""Readers of recordings; each returns a tree of plain arrays and keeps no file open."""

from neuromvm.data.loaders.recordings import load_recordings

__all__ = ["load_recordings"]
