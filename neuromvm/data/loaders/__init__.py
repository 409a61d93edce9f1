"""Readers of recordings; files are closed afterwards. Errors of all readers are those of :func:`load_recordings`."""

from neuromvm.data.loaders.recordings import load_recordings

__all__ = ["load_recordings"]
