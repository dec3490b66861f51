"""A run with everything that decides it, ``--method best`` included: what ``cam run`` does."""

from collections.abc import Sequence

from camcli.concurrency import Stop
from camcli.config.settings import RunConfig
from camcli.engines.child import Waiting
from camcli.engines.run import run as run_engine
from camcli.images import Sources
from camcli.models import Model
from camcli.pipeline.folder import require_continuable
from camcli.pipeline.stream import Summary, Watcher
from camcli.schemas.index import ChosenMethod

__all__ = ["Summary", "run"]


def run(
    config: RunConfig,
    *,
    command: Sequence[str] = ("cam", "run"),
    stop: Stop | None = None,
    watch: Watcher | None = None,
    waiting: Waiting | None = None,
) -> Summary:
    """Explain images into a run folder: what ``cam run`` does.

    A folder of the same configuration is continued: images that have a row there are not explained again. With the
    method ``best`` the most faithful one within ``budget`` is found first, by a trial on a few of the images.

    Args:
        config: the settings.
        command: recorded in the index.
        stop: ends the run after the images in flight.
        watch: receives the events of the run.
        waiting: processes for ``processes`` that have been started already.

    Raises:
        UsageError: something is wrong with the configuration; found before any image is explained.
        OutputError: the run folder cannot be written. What was journalled before stays valid.
    """
    own = watch or Watcher()

    return run_engine(
        config, command=command, stop=Stop() if stop is None else stop, watch=own, decide=_Decide(own), waiting=waiting
    )


class _Decide:
    """Chooses a method by a trial; where this is sent to another machine, nobody hears how far the trial is."""

    def __init__(self, watch: Watcher) -> None:
        self._watch = watch

    def __call__(self, config: RunConfig, model: Model, sources: Sources) -> ChosenMethod:
        from camcli.evaluation.best import choose_method  # takes a moment to import, and is rarely needed

        require_continuable(config)
        return choose_method(config, model, sources, self._watch.choosing)

    def __getstate__(self) -> dict[str, object]:
        return {"_watch": Watcher()}
