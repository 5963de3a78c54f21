"""A document that is a ZIP archive, looked at before any library sees it: how many files, how large, what XML.

Every file is unpacked once, in pieces that are counted and thrown away, because declared sizes may lie. None within is
opened as a document of its own.

Source: PKWARE APPNOTE 6.3.10, 4.4.4 (general purpose bit 0: encrypted); ECMA-376-2, 11.3 and 8.5 (no DTD in parts).
"""

import copy
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Final
from xml.parsers import expat

from router.documents.formats.report import DAMAGED, ENCRYPTED, UnreadableError
from router.documents.kinds import Kind
from router.documents.messages import ReadingLimits

MAX_DEPTH: Final = 200
MAX_ELEMENTS: Final = 5_000_000
"""Of all XML in a document: a library makes an object of some hundred bytes of each."""
_SLICE_BYTES: Final = 1 << 16
_SMALL_BYTES: Final = 1 << 20
"""Of a file that may be as much larger than packed as it likes."""
_ENCRYPTED_BIT: Final = 1
_NO_XML: Final = (".svg", ".htm", ".html", ".mht")
"""Parts that may have a DTD; none of them is read."""
_BEFORE_XML: Final = b"\xef\xbb\xbf\xff\xfe\0 \t\r\n"

_KINDS: Final = (
    ("word/", Kind.DOCX),
    ("ppt/", Kind.PPTX),
    ("xl/", Kind.XLSX),
)
_ODS_TYPE: Final = b"application/vnd.oasis.opendocument.spreadsheet"
_PROBLEMS: Final = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError)


class Archive:
    """A document that was looked through and is safe to be read whole.

    Raises:
        UnreadableError: It is not.
    """

    def __init__(self, data: bytes, limits: ReadingLimits) -> None:
        self._limits = limits
        self._num_left = limits.max_unpacked_bytes
        self._num_elements = 0
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            infos = [info for info in self._zip.infolist() if not info.is_dir()]
            self._check_directory(infos)
            for info in infos:
                self._look_through(info)
        except _PROBLEMS as exc:
            raise UnreadableError(DAMAGED) from exc
        self.names = {info.filename for info in infos}

    def kind(self) -> Kind:
        """Return what it is a document of.

        Raises:
            UnreadableError: Of nothing that is read here.
        """
        if "mimetype" in self.names and self.read("mimetype").startswith(_ODS_TYPE):
            return Kind.ODS
        if "[Content_Types].xml" in self.names:
            for folder, kind in _KINDS:
                if any(name.startswith(folder) for name in self.names):
                    return kind
        raise UnreadableError("is an archive and no document; unpack it and send what is in it")

    def read(self, name: str) -> bytes:
        """Return a file.

        Raises:
            UnreadableError: There is none.
        """
        try:
            return self._zip.read(name)
        except (KeyError, *_PROBLEMS) as exc:
            raise UnreadableError(f"{DAMAGED}: it lacks {name:.100}") from exc

    def _check_directory(self, infos: list[zipfile.ZipInfo]) -> None:
        limits = self._limits
        if any(info.flag_bits & _ENCRYPTED_BIT for info in infos):
            raise UnreadableError(ENCRYPTED)
        if len(infos) > limits.max_entries:
            raise UnreadableError(f"has {len(infos)} files in it; at most {limits.max_entries} (documents.max_entries)")
        if sum(info.file_size for info in infos) > limits.max_unpacked_bytes:
            raise self._too_large()

    def _look_through(self, info: zipfile.ZipInfo) -> None:
        """Unpack a file and look at its XML; its real size counts."""
        num_bytes, watch = 0, None
        for piece in self._pieces(info):
            if not num_bytes and _is_xml(info.filename, piece):
                watch = XMLWatch(MAX_ELEMENTS - self._num_elements)
            num_bytes += len(piece)
            self._num_left -= len(piece)
            if self._num_left < 0:
                raise self._too_large()
            if num_bytes > max(_SMALL_BYTES, self._limits.max_ratio * info.compress_size):
                times = f"{self._limits.max_ratio} times (documents.max_ratio)"
                raise UnreadableError(f"is packed so tightly that it looks like a bomb: over {times} its size")
            if watch is not None:
                watch.feed(piece)
        if num_bytes != info.file_size:
            raise UnreadableError(f"{DAMAGED}: {info.filename:.100} is not as large as it says")
        if watch is not None:
            self._num_elements += watch.close()

    def _pieces(self, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield a file to its real end, whatever size it declares."""
        untrusted = copy.copy(info)
        untrusted.file_size = self._num_left + _SLICE_BYTES
        with self._zip.open(untrusted) as file:
            while piece := file.read(_SLICE_BYTES):
                yield piece

    def _too_large(self) -> UnreadableError:
        most = f"{self._limits.max_unpacked_bytes >> 20} MiB (documents.max_unpacked_bytes)"
        return UnreadableError(f"is larger than {most} when it is unpacked")


class XMLWatch:
    """Follows XML without keeping anything of it.

    Args:
        max_elements: That it may have.
    """

    def __init__(self, max_elements: int) -> None:
        self._parser = expat.ParserCreate()
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._max_elements = max_elements
        self._num_elements = 0
        self._depth = 0

    def feed(self, piece: bytes) -> None:
        """Go on.

        Raises:
            UnreadableError: It is no XML, or none that is read here.
        """
        self._parse(piece, is_final=False)

    def close(self) -> int:
        """Return how many elements there were; errors as of `feed`."""
        self._parse(b"", is_final=True)
        return self._num_elements

    def _parse(self, piece: bytes, *, is_final: bool) -> None:
        try:
            self._parser.Parse(piece, is_final)
        except expat.ExpatError as exc:
            raise UnreadableError(DAMAGED) from exc

    def _begin(self, _name: str, _attributes: object) -> None:
        self._depth += 1
        self._num_elements += 1
        if self._depth > MAX_DEPTH:
            raise UnreadableError(f"is nested more than {MAX_DEPTH} levels deep")
        if self._num_elements > self._max_elements:
            raise UnreadableError("has too many elements; split it")

    def _end(self, _name: str) -> None:
        self._depth -= 1

    def _refuse(self, *_: object) -> None:
        raise UnreadableError("has entities of its own (a DTD), as no such document has")


def _is_xml(name: str, beginning: bytes) -> bool:
    return beginning.lstrip(_BEFORE_XML).startswith(b"<") and not name.lower().endswith(_NO_XML)
