"""NWB files on a web server or in the DANDI archive, of which only the parts that are needed are read (package ``remfile``)."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from http.client import HTTPException
from importlib import import_module
from pathlib import PurePosixPath
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

import h5py
import numpy as np
from numpy.typing import NDArray

from neuromvm.data.loaders.hdf5 import SIGNATURE, SIGNATURE_OFFSETS, guard
from neuromvm.data.loaders.labels import shown
from neuromvm.data.loaders.nwb_file import NwbFile
from neuromvm.errors import DataFormatError, NeuromvmError, did_you_mean
from neuromvm.specs.data import DandiSpec

TIMEOUT = 20.0  # [s] without an answer; remfile then tries again, up to eight times
LARGEST_TEXT = 2**28  # [bytes] of the texts of a column, each padded to the longest
LARGEST_LIST = 2**26  # bytes of an answer of the archive
PAGE, MOST_PAGES = 1000, 1000
DOWNLOAD = "Download the file and name it in files"


@dataclass(frozen=True)
class RemoteFile:
    """A file behind a URL, with the names that a path has; ``path``: of the asset in its archive; ``sha256``: '' if unknown."""

    url: str
    path: str
    sha256: str = ""

    @classmethod
    def from_url(cls, url: str) -> "RemoteFile":
        """Return the file of a URL, named after its last part."""
        return cls(url, urlsplit(url).path.strip("/"))

    def __str__(self) -> str:
        """Return the URL without its query, which may hold a signature."""
        return self.url.partition("?")[0]

    @property
    def name(self) -> str:
        """Name of the file."""
        return PurePosixPath(self.path).name

    @property
    def stem(self) -> str:
        """Name of the file without its ending."""
        return PurePosixPath(self.path).stem

    @property
    def folder(self) -> str:
        """Name of the folder that holds the file, '' if there is none."""
        return PurePosixPath(self.path).parent.name


def is_url(pattern: str) -> bool:
    """Return whether an entry of ``files`` is a URL."""
    return pattern.startswith(("http://", "https://"))


def find_assets(dandi: DandiSpec, patterns: Sequence[str]) -> list[RemoteFile]:
    """Return the assets of a dandiset whose paths match a pattern, ``*`` also across folders; DataFormatError if none."""
    base = dandi.api.rstrip("/")
    listing = f"{base}/dandisets/{dandi.dandiset}/versions/{quote(dandi.version, safe='')}/assets/"
    url: str | None = f"{listing}?{urlencode({'page_size': PAGE, 'metadata': 'true'})}"
    files: dict[str, RemoteFile] = {}
    for _ in range(MOST_PAGES):
        if url is None:
            break
        if not url.startswith(f"{base}/"):
            raise DataFormatError(listing, found=f"a next page at {url[:100]}", expected=f"pages below {base}")
        page = _json(url)
        try:
            for asset in page["results"]:
                digest = ((asset.get("metadata") or {}).get("digest") or {}).get("dandi:sha2-256", "")
                download = f"{base}/assets/{quote(asset['asset_id'], safe='')}/download/"
                files[asset["path"]] = RemoteFile(download, asset["path"], str(digest))
            url = page.get("next")
        except (KeyError, TypeError, AttributeError) as error:
            raise DataFormatError(listing, found="an answer without assets", expected="the DANDI API, version 1") from error
    selected = {path: file for path, file in files.items() if any(fnmatchcase(path, pattern) for pattern in patterns)}
    for pattern in patterns:
        if not any(fnmatchcase(path, pattern) for path in files):
            next_step = f"{did_you_mean(pattern, sorted(files)[:20])}. {len(files)} assets in all. Check 'files'"
            raise DataFormatError(f"dandiset {dandi.dandiset}/{dandi.version}", found=f"no {pattern!r}", next_step=next_step)
    zarr = [path for path in selected if path.endswith(".zarr")]
    if zarr:
        raise DataFormatError(f"dandiset {dandi.dandiset}", found=f"Zarr folders: {shown(zarr)}", next_step="Download them")
    return [selected[path] for path in sorted(selected)]


@contextmanager
def open_remote(file: RemoteFile) -> Iterator[NwbFile]:
    """Open an NWB file behind a URL for reading; parts of it are fetched when they are used.

    Raises
    ------
    DataFormatError
        If ``remfile`` is not installed, the server does not answer, answers with an error or without range requests, or the
        file is no NWB 2 file.
    """
    try:
        remfile, requests = import_module("remfile"), import_module("requests")
    except ImportError as error:
        next_step = f"Install it: pip install 'neuromvm[remote]'. Or: {DOWNLOAD}"
        raise DataFormatError(str(file), found="a URL, and no package remfile to read it", next_step=next_step) from error
    url, size = _locate(file)
    with requests.Session() as session:
        session.send = _with_timeout(session.send)
        remote = remfile.File(url, _size=size)
        remote.session.close()
        remote.session = session
        content = _Content(remote, str(file), size)
        head = content.read(min(size, SIGNATURE_OFFSETS[-1] + len(SIGNATURE)))
        if not any(head[offset:].startswith(SIGNATURE) for offset in SIGNATURE_OFFSETS):
            raise DataFormatError(str(file), found=f"not HDF5 (begins with {head[:8]!r})", expected="an NWB file")
        with guard(str(file)):
            handle = h5py.File(content, "r")
        with handle:
            nwb = RemoteNwb(file, handle)  # type: ignore[arg-type]  # which shows the path in messages only
            nwb.check_version()
            yield nwb


class RemoteNwb(NwbFile):
    """An open file behind a URL; its texts are read one by one, so that many references to a long one do not fill the memory."""

    def longest_text(self, path: str) -> int:
        """Return the length of the longest text of a dataset of text [bytes]."""
        with guard(self.where(path)):
            return _longest(self._dataset(path))

    def array(self, path: str, column: int | None = None) -> NDArray[Any]:
        """Return a dataset as :meth:`NwbFile.array` does."""
        with guard(self.where(path)):
            self._check_text(self._dataset(path), self.where(path))
        return super().array(path, column)

    def _check_text(self, dataset: h5py.Dataset, where: str) -> None:
        """Refuse text whose longest cell would make the column exceed ``LARGEST_TEXT``."""
        kind = h5py.check_string_dtype(dataset.dtype)
        if kind is not None and _longest(dataset) * (dataset.size or 0) * 4 > LARGEST_TEXT:
            next_step = "Leave the column out of the data spec"
            raise DataFormatError(where, found="a very long text in a column", expected="labels", next_step=next_step)


def _longest(dataset: h5py.Dataset) -> int:
    """Return the length of the longest text [bytes], or of the first one that is too long for the column."""
    longest = 0
    for index in np.ndindex(dataset.shape or ()):
        longest = max(longest, len(dataset[index]))
        if longest * dataset.size * 4 > LARGEST_TEXT:
            break
    return longest


class _Content:
    """The bytes of a remote file for h5py, whose errors are DataFormatError."""

    def __init__(self, remote: Any, where: str, size: int) -> None:
        self._remote, self._where, self._size = remote, where, size

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place in the file."""
        self._remote.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """Return the place in the file."""
        return int(self._remote.tell())

    def read(self, size: int = -1) -> bytes:
        """Return the next bytes."""
        remaining = max(self._size - self.tell(), 0)
        size = remaining if size < 0 else min(size, remaining)
        if not size:
            return b""
        try:
            return bytes(self._remote.read(size))
        except Exception as error:
            raise _unreachable(self._where, error) from error


def _with_timeout(send: Any) -> Any:
    """Return the function that sends a request with a time limit, which remfile does not set."""

    def limited(request: Any, **settings: Any) -> Any:
        return send(request, **{**settings, "timeout": TIMEOUT})

    return limited


def _locate(file: RemoteFile) -> tuple[str, int]:
    """Return the URL that a file's URL leads to, and the size of the file, or raise DataFormatError without range requests."""
    with _answer(file.url, str(file), {"Range": "bytes=0-0"}) as answer:
        _, _, size = answer.headers.get("Content-Range", "").partition("/")
        if answer.status == 206 and size.isdecimal():
            return answer.geturl(), int(size)
    problem = f"a server that sends whole files only (HTTP {answer.status})"
    raise DataFormatError(str(file), found=problem, expected="range requests (HTTP 206)", next_step=DOWNLOAD)


def _json(url: str) -> Any:
    """Return the JSON that a URL answers with."""
    with _answer(url, url, {"Accept": "application/json"}) as answer:
        content = answer.read(LARGEST_LIST + 1)
    try:
        if len(content) > LARGEST_LIST:
            raise ValueError(f"more than {LARGEST_LIST} bytes")
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataFormatError(url, found=f"no JSON ({str(error)[:200]})", expected="a list of the DANDI API") from error


@contextmanager
def _answer(url: str, where: str, headers: dict[str, str]) -> Iterator[Any]:
    """Open a URL, or raise DataFormatError if it cannot be reached."""
    if not is_url(url):
        raise DataFormatError(where, found="another scheme", expected="a URL with http or https")
    try:
        with urlopen(Request(url, headers=headers), timeout=TIMEOUT) as answer:  # noqa: S310  # the scheme is checked
            yield answer
    except NeuromvmError:
        raise
    except (OSError, HTTPException, ValueError) as error:
        raise _unreachable(where, error) from error


def _unreachable(where: str, error: Exception) -> DataFormatError:
    next_step = "Check the address and the network, or download the file"
    if isinstance(error, HTTPError):
        if error.code in {401, 403}:
            next_step = "The file is not public (an embargoed dandiset?): download it with your account"
        return DataFormatError(where, found=f"HTTP {error.code} {error.reason}", expected="a file", next_step=next_step)
    is_late = isinstance(error, TimeoutError) or "timed out" in str(error).lower()
    problem = f"no answer within {TIMEOUT:g} s" if is_late else f"not reachable ({' '.join(str(error).split())[:200]})"
    return DataFormatError(where, found=problem, next_step=next_step)
