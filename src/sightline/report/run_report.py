"""What the reports of all studies share: a page that goes into the run's folder, and tables that go into files."""

import os
from abc import ABC, abstractmethod
from pathlib import Path

from sightline.report.exported import write_text
from sightline.report.page import Page, write_page

PAGE = "report.html"


class RunReport(ABC):
    """A run's report."""

    @property
    @abstractmethod
    def folder(self) -> Path:
        """The run's folder."""

    @abstractmethod
    def page(self) -> Page:
        """The page."""

    @staticmethod
    @abstractmethod
    def check_suffix(path: str | os.PathLike[str]) -> None:
        """Check what is to be written, by the file's name, before anything is computed.

        Raises:
            InputError: Another name or ending; the text says what can be written.
        """

    @abstractmethod
    def table(self, path: str | os.PathLike[str]) -> str:
        """The text of the table that goes into a file of this name."""

    def write(self, path: str | os.PathLike[str] | None = None) -> Path:
        """Write the page: `report.html` in the run's folder, or `path`.

        Raises:
            StorageError: It cannot be written, or the run is broken.
        """
        path = self.folder / PAGE if path is None else Path(path)
        write_page(path, self.page())
        return path

    def export(self, path: str | os.PathLike[str]) -> Path:
        """Write a table, by the file's name; see `check_suffix`.

        Raises:
            InputError: Another name or ending.
            StorageError: It cannot be written.
        """
        self.check_suffix(path)
        return write_text(path, self.table(path))
