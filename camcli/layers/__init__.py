"""Target layers: dotted paths, the layout of an activation and its verification, the automatic choice."""

from camcli.layers.layout import Layout, parse_layout
from camcli.layers.paths import find_module
from camcli.layers.probe import PassError
from camcli.layers.report import LayerReport, LayerSurvey, report_layers, survey_layers
from camcli.layers.resolve import AUTO, Layer, NoLayerError, resolve_layers

__all__ = [
    "AUTO",
    "Layer",
    "LayerReport",
    "LayerSurvey",
    "Layout",
    "NoLayerError",
    "PassError",
    "find_module",
    "parse_layout",
    "report_layers",
    "resolve_layers",
    "survey_layers",
]
