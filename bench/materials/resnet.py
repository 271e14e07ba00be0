"""ResNet-18 for small images (He et al. 2016, https://arxiv.org/abs/1512.03385), from torchvision's."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from bench.types import ImageSpec

BLOCKS = [2, 2, 2, 2]


class BatchNorm(nn.BatchNorm2d):
    """Batch normalisation that also trains on one value a channel: a batch of a single image brought down to 1x1.

    One value has no variance: it is normalised by the running statistics, which it leaves alone.
    """

    def forward(self, values: Tensor) -> Tensor:
        if self.training and values[:, 0].numel() == 1:
            return F.batch_norm(values, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        return super().forward(values)


def resnet18(spec: ImageSpec, outputs: int) -> ResNet:
    """Images [N, C, H, W] in [0, 1] -> logits [N, outputs].

    The stem is one 3x3 convolution of stride 1 without max pooling, as for 32x32 images everywhere: the 7x7 stem for
    photographs would throw 15 of 16 positions away. It branches, so no proof covers it.
    """
    network = ResNet(BasicBlock, BLOCKS, num_classes=outputs, norm_layer=BatchNorm)
    network.conv1 = nn.Conv2d(spec.shape[0], 64, kernel_size=3, padding=1, bias=False)
    nn.init.kaiming_normal_(network.conv1.weight, mode="fan_out", nonlinearity="relu")
    network.maxpool = nn.Identity()
    return network
