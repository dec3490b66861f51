"""The data of a page in pieces that it can load from disk: scripts that call a function, which ``file:`` allows."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camcli.output import naming_os_errors, write_named_file
from camcli.output.jsontext import replace_surrogates
from camcli.report.originals import href

IMAGES_A_FILE = 500
_NAME = re.compile(r"data-(\d{4,})\.js")


class DataFiles:
    """Takes records one by one, and writes a file for every :data:`IMAGES_A_FILE` of them.

    Args:
        folder: where they are written; None: they are kept, to be embedded in the page.

    Attributes:
        embedded: the pieces as JSON, safe within a script element.
    """

    def __init__(self, folder: Path | None) -> None:
        self.embedded: list[str] = []
        self._folder, self._records, self._count = folder, list[str](), 0

    def add(self, record: Mapping[str, Any]) -> None:
        """Add the record of one image."""
        self._records.append(page_json(record))
        if len(self._records) == IMAGES_A_FILE:
            self._flush()

    def close(self) -> None:
        """Write what is left, and remove the files of an earlier, longer report."""
        if self._records or not self._count:
            self._flush()
        if self._folder is None:
            return
        with naming_os_errors(self._folder, option="--output"):
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match and int(match[1]) > self._count:
                    path.unlink(missing_ok=True)

    def names(self, page: Path) -> list[str]:
        """The files as the page refers to them."""
        if self._folder is None:
            return []
        return [href(self._folder / f"data-{number:04}.js", page) for number in range(1, self._count + 1)]

    def _flush(self) -> None:
        text = f"[{','.join(self._records)}]"
        self._records.clear()
        self._count += 1
        if self._folder is None:
            self.embedded.append(text)
            return
        # A string that is parsed as JSON is read faster than the same as an object of JavaScript.
        script = f"camData({self._count},{page_json(text)});\n"
        write_named_file("--output", self._folder / f"data-{self._count:04}.js", [script.encode("utf-8")])


def page_json(value: object) -> str:
    """JSON that may stand in a script element: no ``<``, so that nothing in it can end the element."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return replace_surrogates(text).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
