"""The images of a finished run, read again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from camcli.checks.recorded import RecordedRun
from camcli.checks.run_paths import as_typed, sources_of
from camcli.config.parse import parse_show_bands, parse_window
from camcli.errors import ImageError
from camcli.images import Decoded, DecodeSettings, Entry, decode, read


class Wanted(Protocol):
    """What is needed to find an image again: its true name and its source's, and the hash of its content."""

    @property
    def name(self) -> tuple[str, str]: ...

    @property
    def sha256(self) -> str: ...


def decode_again(
    run: RecordedRun, records: Sequence[Wanted], sources: Iterable[Entry] | None = None,
    settings: DecodeSettings | None = None,
) -> Iterator[tuple[int, Decoded]]:  # fmt: skip
    """Read images of a run again; those that are gone or changed are left out.

    Args:
        run: that explained them.
        records: which.
        sources: of the run, where they are open already.
        settings: of the decoder; None: as the run recorded them.

    Yields:
        The index of the record, and the upright image; in the order of the run.

    Raises:
        SourceError: a source of the run is not there any more.
    """
    settings = settings or recorded_settings(run)
    places = {record.name: place for place, record in enumerate(records)}
    for entry in as_typed(run, sources_of(run) if sources is None else sources):
        if not places:
            return
        place = places.pop((entry.image, entry.source), None)
        if place is None:
            continue
        try:
            decoded = decode(read(entry), settings)
        except ImageError:
            continue  # not there any more; the others are used
        if decoded.metadata.sha256 == records[place].sha256:
            yield place, decoded


def recorded_settings(run: RecordedRun) -> DecodeSettings:
    """How the run decoded its images, without its model."""
    config = run.header["config"]
    return DecodeSettings(
        max_pixels=config["max_pixels"],
        allow_truncated=config["allow_truncated"],
        channels=run.header["model"]["input_size"][0],
        show_bands=parse_show_bands(config.get("show_bands")),
        window=parse_window(config.get("window")),
    )
