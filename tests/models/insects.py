"""Models of a user's own, as a factory finds them in the working directory."""

from types import SimpleNamespace

import torch
import torchvision
from torch import nn

from camcli.images import Preprocessing


class Net(nn.Module):
    def __init__(self, classes=3, channels=3):
        super().__init__()
        self.stem = nn.Conv2d(channels, 4, 3, stride=2)
        self.norm = nn.BatchNorm2d(4)
        self.top = nn.Linear(4, classes)

    def forward(self, x):
        return self.top(self.norm(self.stem(x)).mean((2, 3)))


class Wrapped(Net):
    def __init__(self, wrap):
        super().__init__()
        self.wrap = wrap

    def forward(self, x):
        return self.wrap(super().forward(x))


def plain():
    return Net()


def grey():
    return Net(channels=1)


def two():
    return Net(2)


SHARED = Net()


def shared():
    return SHARED


def half():
    return Net().half()


def bfloat():
    return Net().bfloat16()


def parallel():
    return nn.DataParallel(Net())


def compiled():
    return torch.compile(Net(), backend="eager")


def config():
    return Net(), {"input_size": (3, 64, 96), "mean": (0.1, 0.2, 0.3), "std": (1, 1, 1), "crop_pct": 1.0}


def preset():
    return Net(), torchvision.models.ResNet18_Weights.DEFAULT.transforms()


def own():
    return Net(), Preprocessing(height=32, width=48)


def transform():
    t = torchvision.transforms
    return Net(), t.Compose([t.Resize((40, 50)), t.ToTensor()])


def wrong_preprocessing():
    return Net(), 7


def broken_transform():
    return Net(), lambda image: None


def binary():
    return Wrapped(lambda z: z[:, 0])


def pair():
    return Wrapped(lambda z: (z, z.new_ones(len(z), 7, 7)))


def huggingface():
    net = Wrapped(lambda z: SimpleNamespace(logits=z))
    net.config = SimpleNamespace(id2label={0: "ant", 1: "bee", 2: "wasp"}, problem_type="multi_label_classification")
    return net


def distilled():
    net = Wrapped(lambda z: (z, z + 2))
    net.head_dist = nn.Identity()
    return net


def unnamed():
    return Wrapped(lambda z: {"a": z, "b": z[:, :2]})


def features():
    return Wrapped(lambda z: z[:, :, None, None].expand(-1, -1, 7, 7))


def headless():
    net = torchvision.models.resnet18()
    net.fc = nn.Identity()
    return net


def fixed():
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))


def named():
    net = Net(2)
    net.class_names = ["ant", "bee"]
    return net


def no_model():
    return 3


def fails():
    raise KeyError("weights")


def needs(argument):
    return Net()


NOT_A_FUNCTION = 3
