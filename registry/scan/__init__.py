"""From files on disk to models in the catalogue."""

from registry.scan.candidates import ScanRoot
from registry.scan.register import register_path
from registry.scan.scanning import ScanReport, scan
from registry.scan.seen import ScanFailure

__all__ = ["ScanFailure", "ScanReport", "ScanRoot", "register_path", "scan"]
