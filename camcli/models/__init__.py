"""Models: from a name to a network with its preprocessing, class names and provenance.

Nothing heavy but torch is imported until a model of torchvision or timm is asked for.
"""

from camcli.models.listing import KnownModel, known_models
from camcli.models.load import load_model
from camcli.models.model import Model
from camcli.models.names import ClassNames, read_class_names
from camcli.models.request import ModelRequest

__all__ = ["ClassNames", "KnownModel", "Model", "ModelRequest", "known_models", "load_model", "read_class_names"]
