"""Random small networks of every kind the proof knows, and images that try to break its bounds."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.types import ImageSpec

SHAPES = ((1, 4, 4), (2, 3, 4), (3, 4, 3))
REAL, OUTPUTS = 3, 5


def facts(shape: tuple[int, int, int], real: int = REAL) -> ImageSpec:
    return ImageSpec(shape, 255, tuple("abcdefghijklmnopqrst"[:real]))


def head(channels: int, height: int, width: int, *between: nn.Module) -> list[nn.Module]:
    return [nn.Flatten(), *between, nn.Linear(channels * height * width, OUTPUTS)]


def mlp(c, h, w):
    n = c * h * w
    return [nn.Flatten(), nn.Linear(n, 12), nn.ReLU(), nn.Linear(12, 9), nn.ReLU(), nn.Linear(9, OUTPUTS)]


def batch_normed(c, h, w):
    n = c * h * w
    return [
        *(nn.BatchNorm2d(c), nn.Flatten(), nn.BatchNorm1d(n), nn.Linear(n, 8, bias=False), nn.BatchNorm1d(8)),
        *(
            nn.Dropout(0.5),
            nn.LeakyReLU(0.2),
            nn.Linear(8, 7),
            nn.BatchNorm1d(7),
            nn.LeakyReLU(),
            nn.Linear(7, OUTPUTS),
        ),
    ]


def conv(c, h, w):
    return [
        *(nn.Conv2d(c, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)),
        *(
            nn.Conv2d(4, 6, 2, stride=2, groups=2, padding=1),
            nn.ReLU6(),
            nn.AdaptiveAvgPool2d(1),
            nn.LeakyReLU(),
            *head(6, 1, 1),
        ),
    ]


def dilated(c, h, w):
    return [
        *(nn.Conv2d(c, 3, 2, dilation=2, padding=2, bias=False), nn.Hardtanh(-0.5, 0.7)),
        *(
            nn.AvgPool2d(2, ceil_mode=True, padding=1, count_include_pad=False),
            nn.ReLU(),
            nn.Conv2d(3, 4, 1),
            nn.ReLU(),
        ),
        *head(4, (h + 2) // 2 + 1, (w + 2) // 2 + 1),
    ]


def depthwise(c, h, w):
    return [nn.Conv2d(c, 2 * c, 3, stride=2, padding=2, groups=c), nn.ReLU(), *head(2 * c, (h + 3) // 2, (w + 3) // 2)]


def depthwise_scaled(c, h, w):
    return [nn.BatchNorm2d(c), nn.Conv2d(c, 2 * c, 2, groups=c), nn.ReLU(), *head(2 * c, h - 1, w - 1)]


def max_pooled(c, h, w):
    return [
        *(nn.Conv2d(c, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, stride=1, padding=1), nn.Conv2d(4, 3, 2)),
        *(nn.MaxPool2d(2, stride=1), *head(3, h - 1, w - 1)),
    ]


def pooled_first(c, h, w):
    return [nn.MaxPool2d(2, stride=1), nn.Conv2d(c, 3, 2), nn.ReLU(), *head(3, h - 2, w - 2)]


def averaged_first(c, h, w):
    return [nn.AvgPool2d(2, stride=1), nn.Conv2d(c, 3, 2), nn.ReLU(), *head(3, h - 2, w - 2)]


def saturating(c, h, w):
    return [
        *(nn.Conv2d(c, 2, 1), nn.BatchNorm2d(2), nn.Hardtanh(0, 1), nn.Conv2d(2, 3, 1), nn.ReLU(), nn.Conv2d(3, 2, 1)),
        *(nn.BatchNorm2d(2), nn.Conv2d(2, 4, 2), nn.ReLU(), *head(4, h - 1, w - 1)),
    ]


def pixelwise_only(c, h, w):
    return [nn.Conv2d(c, 4, 1), nn.LeakyReLU(), *head(4, h, w)]


def curved(c, h, w):
    n = c * h * w
    return [nn.Flatten(), nn.Tanh(), nn.Linear(n, 8), nn.Sigmoid(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, OUTPUTS)]


def nested(c, h, w):
    inner = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Identity(), nn.Linear(c * h * w, 6))
    return [
        nn.Sequential(nn.Identity(), inner),
        nn.Hardtanh(),
        nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 5)),
    ]


def one_layer(c, h, w):
    return head(c, h, w)


def ends_bent(c, h, w):
    return [nn.Conv2d(c, 3, 2), nn.ReLU(), *head(3, h - 1, w - 1), nn.LeakyReLU(0.1)]


ZOO = (
    *(mlp, batch_normed, conv, dilated, depthwise, depthwise_scaled, max_pooled, pooled_first, averaged_first),
    *(saturating, pixelwise_only, curved, nested, one_layer, ends_bent),
)


def random_network(kind, shape: tuple[int, int, int], seed: int, scale: float = 2.0) -> nn.Sequential:
    """A network of one kind in eval mode, its weights and running statistics drawn from a seed."""
    draw = torch.Generator().manual_seed(seed)
    network = nn.Sequential(*kind(*shape)).eval()
    for layer in network.modules():
        for name, weight in (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)):
            if not weight.is_floating_point():
                continue
            if name == "running_var":
                values = 0.2 + torch.rand(weight.shape, generator=draw)
            else:
                fan_in = max(1, weight[0].numel()) if weight.ndim > 1 else 4
                values = scale * torch.randn(weight.shape, generator=draw) / fan_in**0.5
            with torch.no_grad():
                weight.copy_(values)
    return network


def random_images(shape: tuple[int, int, int], k: int, count: int, draw: torch.Generator) -> Tensor:
    """At most k lit pixels each: corners of the box, values in between, and faint ones."""
    _, height, width = shape
    images = torch.rand(count, *shape, generator=draw)
    images[: count // 2] = images[: count // 2].round()
    images[-count // 8 :] *= 1e-3
    order = torch.rand(count, height * width, generator=draw).argsort(dim=1).argsort(dim=1)
    return images * (order < k).view(count, 1, height, width)


def greedy(network: nn.Module, shape: tuple[int, int, int], target: int, k: int) -> Tensor:
    """Light one pixel after another, whichever and in whichever corner helps the target most -> [k + 1, C, H, W]."""
    channels, height, width = shape
    corners = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * channels).view(-1, channels)[1:]
    path = [torch.zeros(shape)]
    for _ in range(k):
        options = path[-1].repeat(height * width, len(corners), 1, 1, 1)
        for pixel in range(height * width):
            options[pixel, :, :, pixel // width, pixel % width] = corners
        options = options.flatten(0, 1)
        path.append(options[network(options).softmax(dim=1)[:, target].argmax()])
    return torch.stack(path)


def ascent(network: nn.Module, shape: tuple[int, int, int], target: int, k: int, start: Tensor) -> Tensor:
    """Light the k pixels whose slopes promise most, sign-matched, a few times over -> images like `start`."""
    found = [start]
    for _ in range(4):
        images = found[-1].clone().requires_grad_()
        logits = network(images.clone())
        margin = logits[:, target] - logits.logsumexp(dim=1)
        slope = torch.autograd.grad(margin.sum(), images)[0]
        gain = slope.clamp(min=0).sum(dim=1).flatten(1)
        chosen = torch.zeros_like(gain).scatter(1, gain.topk(min(k, gain.shape[1]), dim=1).indices, 1.0)
        found.append((slope > 0).float() * chosen.view(-1, 1, *shape[1:]))
    return torch.cat(found).detach()
