"""Checks of what a model looks at, on the saliency maps of finished runs.

    index.json ─► RecordedRun ─► one Context a check ─► values of images ─► Judge ─► Result
                                    │
                       ReopenedModel: model and images, opened only for checks that intervene

As a library, in a test of your own model::

    from camcli.checks import check_run
    results = check_run("cam-output", changes=["border.median_max=1.2"])
    assert all(result.status != "fail" for result in results), [result.why for result in results]
"""

from collections.abc import Sequence
from dataclasses import replace

from camcli.checks.baseline import Baseline, baseline_of, read_baseline, write_baseline
from camcli.checks.context import Context
from camcli.checks.manifest_regions import ManifestRegions
from camcli.checks.recorded import MethodLayer, RecordedRun, read_run
from camcli.checks.registry import CHECKS
from camcli.checks.reopened import ReopenedModel, UnavailableError
from camcli.checks.result import Condition, Result, Status, WorstImage, overall, skip
from camcli.checks.suite import Suite, load_suite
from camcli.errors import ConfigError, ImageError, LayerError, did_you_mean

__all__ = [
    "CHECKS",
    "Baseline",
    "Condition",
    "RecordedRun",
    "Result",
    "Status",
    "Suite",
    "WorstImage",
    "baseline_of",
    "check_run",
    "choose_maps",
    "load_suite",
    "overall",
    "read_baseline",
    "read_run",
    "run_checks",
    "write_baseline",
]


def check_run(
    path: str, *, suite: str | None = None, changes: Sequence[str] = (), baseline: str | None = None,
    require: Sequence[str] = (),
) -> list[Result]:  # fmt: skip
    """What ``cam check RUN`` does, from Python.

    Args:
        path: a finished run folder.
        suite: a TOML file; None for the checks that run by default.
        changes: ``CHECK.KEY=VALUE`` each, as ``--set``.
        baseline: a baseline file for ``predictions`` and ``drift``.
        require: checks that must be decided: inconclusive or skipped, their ``effective_status`` is ``fail``.

    Raises:
        UsageError: no run is there, the suite or baseline is wrong, or the baseline is of other images or another
            preprocessing.
    """
    run = read_run(path)
    chosen = load_suite(suite, changes, require)
    compared = None if baseline is None else read_baseline(baseline)
    if compared is not None:
        compared.refuse_other(run, choose_maps(run, chosen))
    return run_checks(run, chosen, compared)


def run_checks(
    run: RecordedRun, suite: Suite, baseline: Baseline | None = None, device: str | None = None
) -> list[Result]:
    """Run the checks of a suite, in the order of the table.

    Args:
        run: what was recorded.
        suite: what to check.
        baseline: for ``drift``.
        device: where the model runs for checks that intervene; None: where the run had it.
    """
    key = choose_maps(run, suite)
    results = []
    with ReopenedModel(run, key, device) as reopened:
        for check in suite.checks:
            settings = suite.settings[check.key]
            regions = ManifestRegions(run, suite.common["manifest"])
            context = Context(run, key, settings, suite.common, regions, reopened, baseline)
            try:
                result = skip(check.key, _VALUES) if check.probability and run.returns_values else check.run(context)
            except UnavailableError as error:
                result = skip(check.key, str(error))
            except (ImageError, LayerError, RuntimeError) as error:
                if not check.model:
                    raise
                # A test that broke off is no evidence: neither a pass nor a failure of the model.
                result = Result(check.key, "inconclusive", f"could not be carried out: {error}")
            result = replace(result, required=check.key in suite.required)
            results.append(result.as_warning() if settings["warn"] else result)
    return results


_VALUES = "the model's outputs are values, and this check compares probabilities"


def choose_maps(run: RecordedRun, suite: Suite) -> MethodLayer:
    """Method and layer of the maps that are checked.

    Raises:
        ConfigError: the run has none, or not those that the suite names.
    """
    keys = run.keys
    if not keys:
        raise ConfigError(f"{run.path}: no image of this run was explained, so there is nothing to check.")
    method, layer = suite.common["method"], suite.common["layer"]
    fitting = [key for key in keys if method in (None, key[0]) and layer in (None, key[1])]
    if not fitting:
        choice = " at ".join(str(part) for part in (method, layer) if part is not None)
        has = ", ".join(f"{key[0]} at {key[1] or 'the whole network'}" for key in keys)
        near = did_you_mean(method, [key[0] for key in keys]) if method is not None else ""
        raise ConfigError(f"{run.path} has no maps of {choice}.{near} It has {has}.")
    return fitting[0]
