"""The commands that :mod:`tests.sweeps.compare_commits` runs with both versions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Configuration:
    """Commands that run one after the other in a folder of their own, in which the inputs lie.

    Attributes:
        commands: what follows ``cam``.
        codes: the exit code of each command; without any, all are 0. Another code is reported even where both
            versions agree on it, since a mistyped command would compare nothing.
        interrupted: the run folder that the first command of the version before left is cut as a kill would have
            left it, and both versions continue it with the second command.
    """

    name: str
    commands: tuple[str, ...]
    codes: tuple[int, ...] = ()
    interrupted: bool = False


SMALL = "--model factory:small_model:small --input-size 64 --layer 6"
DOCUMENT_FLAGS = ("--json", "--format json")
"""A command with one of them writes a JSON document to standard output."""

CONFIGURATIONS = (
    Configuration("sample run", ("run --image-path sample_images --method gradcam",)),
    Configuration(
        "gradient methods",
        (
            "run photos --limit 4 --save raw,map --method gradcam,gradcam++,xgradcam,hirescam,gradcamelementwise,"
            "layercam,eigengradcam,segeigencam,finercam,shapleycam,refinecam",
        ),
    ),
    Configuration(
        "methods without gradients",
        (
            "run photos --limit 3 --save raw,overlay --method eigencam,kpcacam,fem,lafam,reciprocam,randomcam --seed 5",
            "run photos --limit 1 --save raw,overlay --method ablationcam --output-dir ablation",
        ),
    ),
    Configuration(
        "methods with passes of their own",
        (
            f"run photos {SMALL} --limit 3 --save raw,overlay --method scorecam,sscam,iscam,groupcam,rise,opticam "
            "--option rise.masks=40 --option rise.grid=5",
        ),
    ),
    Configuration(
        "methods at the input",
        ("run photos --limit 2 --save raw,overlay --method fullgrad,guidedbackprop,guidedgradcam,smoothgradcam++",),
    ),
    Configuration("top:2, topk 7", ("run photos --target top:2 --topk 7 --method gradcam,layercam --limit 5",)),
    Configuration("labels", ("run sample_images --target label --method gradcam",), codes=(3,)),
    Configuration("class name", ("run photos --limit 4 --target 'Egyptian cat' --method hirescam",)),
    Configuration("list of targets", ("run photos --limit 4 --target predicted,285,espresso --method xgradcam",)),
    Configuration("targets of a manifest", ("run targets.csv --method gradcam",), codes=(3,)),
    Configuration("two layers", ("run photos --limit 4 --layer blocks[-1] --layer bn2 --method gradcam,layercam",)),
    Configuration(
        "fused layers",
        tuple(
            f"run photos --limit 3 --layer blocks[-2] --layer bn2 --fuse {how} --method gradcam --output-dir {how}"
            for how in ("max", "product")
        ),
    ),
    Configuration(
        "vision transformer",
        (
            "run photos --limit 3 --model timm:vit_tiny_patch16_224 --weights random --seed 3 --save raw,overlay "
            "--method gradcam,rollout,chefer,legrad,layercam",
        ),
    ),
    Configuration(
        "token layout by hand",
        (
            "run photos --limit 2 --model timm:deit_tiny_distilled_patch16_224 --weights random --layer "
            "blocks[-2].norm1 --layout tokens:2:14x14 --method gradcam,eigencam",
        ),
    ),
    Configuration(
        "Swin transformer",
        ("run photos --limit 2 --model timm:swin_tiny_patch4_window7_224 --weights random --method gradcam,hirescam",),
    ),
    Configuration(
        "torchvision model",
        ("run photos --limit 3 --model torchvision:mobilenet_v3_small --weights random --input-size 192x256",),
    ),
    Configuration("bf16", ("run photos --limit 4 --precision bf16 --method gradcam,eigencam,layercam --save raw,map",)),
    Configuration(
        "every kind saved",
        tuple(
            f"run photos --limit 3 --save overlay,heatmap,gray,raw,map,panel --image-format {form} --output-dir {form}"
            for form in ("png", "webp")
        ),
    ),
    Configuration(
        "colours, size, table",
        ("run photos --limit 8 --colormap turbo --alpha 0.3 --max-side 200 --quality 60 --csv table.csv",),
    ),
    Configuration(
        "fixed and sampled scale",
        (
            "run photos --scale 0:1.5 --max-side 0 --output-dir fixed --limit 5",
            "run photos --scale sample:4 --method gradcam,layercam --output-dir sampled",
        ),
    ),
    Configuration(
        "smoothing and scores",
        (
            "run photos --limit 2 --aug-smooth --score prob --method gradcam --output-dir prob",
            "run photos --limit 2 --eigen-smooth --score neg-logit --method gradcam,layercam --output-dir negated",
        ),
    ),
    Configuration("small batches", ("run photos --batch-size 3 --workers 1 --method gradcam,layercam",)),
    Configuration(
        "own preprocessing",
        (
            "run photos --limit 3 --resize pad --mean 0.4,0.5,0.6 --std 0.2,0.3,0.25 --output-dir pad",
            "run photos --limit 8 --resize squash --fast-decode --output-dir squash",
        ),
    ),
    Configuration(
        "checkpoint",
        (
            "run photos --limit 3 --model torchvision:squeezenet1_1 --checkpoint squeezenet.pt "
            "--class-names classes.txt --target dog,predicted --probability sigmoid",
        ),
    ),
    Configuration("settings file", ("run --config run.toml --limit 3 --topk 2",)),
    Configuration(
        "continued run", ("run photos --method gradcam,layercam", "run photos --method gradcam,layercam"),
        interrupted=True,
    ),
    Configuration(
        "continued run with failures", (f"run odd photos {SMALL} --batch-size 4",) * 2, codes=(3, 3), interrupted=True
    ),
    Configuration(
        "damaged and odd images",
        ("run odd --method gradcam --save overlay,raw,panel", "run odd --method gradcam --save overlay,raw,panel "
         "--retry-failed"), codes=(3, 3),
    ),
    Configuration(
        "truncated allowed, limits",
        (
            f"run odd {SMALL} --allow-truncated --output-dir truncated",
            f"run photos {SMALL} --max-pixels 200000 --output-dir large",
            f"run odd/text.jpg photos {SMALL} --fail-fast --output-dir fast",
        ),
        codes=(3, 3, 1),
    ),
    Configuration("tar", ("run photos.tar --method gradcam --limit 5",)),
    Configuration(
        "several sources",
        (f"run photos sample_images 'odd/orientation*.jpg' photos/cat.jpg @list.txt {SMALL}",), codes=(3,),
    ),
    Configuration(
        "checks",
        (
            "run photos --method gradcam,reciprocam --output-dir first",
            "run photos --method gradcam,reciprocam --output-dir second --score prob --quality 80",
            "check first --format json --write-baseline attention.baseline",
            "check first --format json --baseline attention.baseline --fail-on never",
            "check second --format json --baseline attention.baseline --rebase --fail-on never",
            "check first --suite checks.toml --format json --fail-on never",
            "diff first second --format json --fail-on never",
            "diff attention.baseline first --json --fail-on never",
        ),
    ),
    Configuration(
        "checks of a run of their own",
        (f"check photos {SMALL} --set stable.images=4 --set random.images=4 --json --fail-on never",),
    ),
    Configuration(
        "evaluation",
        (
            "eval photos --limit 3 --steps 4 --method gradcam,layercam --json --csv eval.csv",
            f"eval boxes.csv {SMALL} --steps 4 --method gradcam,eigencam --metrics all --grid-probability 0 --json",
            f"eval masks.jsonl {SMALL} --metrics pointing,energy,maxboxacc --json",
        ),
    ),
    Configuration(
        "recommended method",
        (
            f"eval photos --method gradcam,hirescam --recommend --steps 4 --output-dir cam-output {SMALL} --json",
            "run photos --method best --layer best --model factory:small_model:small --input-size 64",
        ),
    ),
    Configuration(
        "layers, models, methods",
        (
            "layers builtin --json",
            "layers timm:vit_tiny_patch16_224 --weights random --json",
            "layers torchvision:squeezenet1_1 --weights random --verify --json",
            "methods --json",
            "models resnet --json",
        ),
    ),
    Configuration(
        "wrong usage",
        (
            "run photos --method gradcat", "run photos --layer nowhere", "run photos --target 'no such class'",
            "run nothing-here", "run photos --alpha 2", "run photos --limit 2", "run photos --limit 2 --alpha 0.7",
            "run photos --limit 2 --dry-run --output-dir dry",
        ), codes=(2, 2, 2, 2, 2, 0, 2, 0),
    ),
)  # fmt: skip

COMPILED = Configuration("compiled", ("run photos --compile --method gradcam,layercam --save raw,overlay",))
