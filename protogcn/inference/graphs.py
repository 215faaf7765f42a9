"""Graph units rewritten for inference: batch norms in the convolutions, constants computed beforehand."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from protogcn.inference.folding import (
    CannotFold,
    Conv,
    accumulate,
    as_python,
    constant,
    fold,
    folded_conv,
    folded_shortcut,
    folds,
    norm_map,
    scaled,
    weights,
)
from protogcn.models.aagcn import AdaptiveTopologyConv
from protogcn.models.ctrgcn import RefinedTopologyConv
from protogcn.models.layers.attention import AttentionGraphConv
from protogcn.models.layers.graph import DynamicTopologyConv
from protogcn.models.layers.static import StaticTopologyConv


class FoldedDynamicTopology(nn.Module):
    """:class:`protogcn.models.layers.graph.DynamicTopologyConv`."""

    def __init__(self, unit: DynamicTopologyConv) -> None:
        super().__init__()
        self.count = unit.num_topologies
        self.alpha, self.beta = as_python(unit.alpha[0]), as_python(unit.beta[0])
        weight, bias = weights(unit.relation)
        constant(self, unit.A, A=unit.A, relation=weight.flatten(1), relation_bias=bias[:, None])
        self.A: Tensor
        self.relation: Tensor
        self.relation_bias: Tensor
        self.pre = folded_conv(unit.pre, unit.pre_norm)
        self.post = folded_conv(unit.post, unit.post_norm)
        self.down = folded_shortcut(unit.down)

    def forward(self, x: Tensor) -> Tensor:
        projected = self.relation @ x.mean(2) + self.relation_bias
        source, target = projected.unflatten(1, (2, self.count, -1)).unbind(1)
        shared = torch.add(self.A, torch.softmax(source.mT @ target, -2), alpha=self.beta)
        differences = (source.unsqueeze(-1) - target.unsqueeze(-2)).tanh_()
        topology = torch.add(shared.unsqueeze(2), differences, alpha=self.alpha)
        features = self.pre(x).relu_()
        mixed = torch.bmm(features.flatten(0, 1), topology.flatten(0, 2).to(features.dtype))
        out = self.post(mixed.view(features.shape))
        return accumulate(out, x if self.down is None else self.down(x))


@folds(DynamicTopologyConv)
def _dynamic(unit: DynamicTopologyConv) -> nn.Module:
    return FoldedDynamicTopology(unit)


class FoldedRefinedTopology(nn.Module):
    """:class:`protogcn.models.ctrgcn.RefinedTopologyConv`: the topologies add up in one place, on the residual path."""

    def __init__(self, unit: RefinedTopologyConv) -> None:
        super().__init__()
        self.count, self.sums_over_columns = unit.num_topologies, unit.sums_over_columns
        scale, shift = norm_map(unit.norm)
        weight, bias = scaled(*weights(unit.features), scale.repeat(self.count), shift.new_zeros(1))
        self.features = nn.ModuleList(
            Conv(unit.features, *part) for part in zip(weight.chunk(self.count), bias.chunk(self.count), strict=True)
        )
        self.down = folded_shortcut(unit.down)
        if self.down is None:
            constant(self, unit.topology, shift=shift[:, None, None])
        else:
            assert isinstance(self.down, Conv)
            self.down.bias += shift.to(self.down.bias.dtype)
        self.shift: Tensor
        relation, relation_bias = weights(unit.relation)
        refine, refine_bias = scaled(*weights(unit.refine), unit.alpha.detach().double(), shift.new_zeros(1))
        # The shared topology and the bias are two more channels of what the refinement is made of.
        refine = torch.cat([refine.flatten(1), torch.ones_like(refine[:, 0, 0]), refine_bias[:, None]], 1)
        topology = unit.topology.detach().double()
        topology = topology.mT if self.sums_over_columns else topology
        constant(
            self,
            unit.topology,
            relation=relation.flatten(1),
            relation_bias=relation_bias[:, None],
            refine=refine.unflatten(0, (self.count, -1)),
            shared=torch.stack([topology, torch.ones_like(topology)], 1)[None],
        )
        self.relation: Tensor
        self.relation_bias: Tensor
        self.refine: Tensor
        self.shared: Tensor

    def forward(self, x: Tensor) -> Tensor:
        projected = self.relation @ x.mean(2) + self.relation_bias
        first, second = projected.unflatten(1, (2, self.count, -1)).unbind(1)
        first, second = first.unsqueeze(-1), second.unsqueeze(-1)
        relation = first.mT - second if self.sums_over_columns else first - second.mT
        shared = self.shared.to(relation.dtype).expand(x.shape[0], -1, -1, -1, -1)
        channels = torch.cat([relation.tanh_(), shared], 2).flatten(3)
        out = x + self.shift if self.down is None else self.down(x)
        mixed = out.flatten(0, 1)
        for index, features in enumerate(self.features):
            mixing = (self.refine[index] @ channels[:, index]).view(mixed.shape[0], *self.shared.shape[3:])
            mixed = mixed.baddbmm_(features(x).flatten(0, 1).to(mixed.dtype), mixing.to(mixed.dtype))
        return mixed.relu_().view(out.shape)


@folds(RefinedTopologyConv)
def _refined(unit: RefinedTopologyConv) -> nn.Module:
    return FoldedRefinedTopology(unit)


class FoldedStaticTopology(nn.Module):
    """:class:`protogcn.models.layers.static.StaticTopologyConv`."""

    def __init__(self, unit: StaticTopologyConv) -> None:
        super().__init__()
        topology = unit.topology().detach().double()
        count, self.joints, _ = topology.shape
        scale, shift = norm_map(unit.norm)
        weight, bias = scaled(*weights(unit.conv), scale.repeat(count), shift.new_zeros(1))
        self.conv = Conv(unit.conv, weight, torch.zeros_like(bias))
        offset = torch.einsum("kc,kvw->wc", bias.view(count, -1), topology) + shift
        # What is added to every frame, joint by joint and channel by channel, and the joints' mixture.
        constant(self, unit.conv.weight, offset=offset, pairs=topology.permute(2, 1, 0).flatten(1)[None])
        self.offset: Tensor
        self.pairs: Tensor
        self.has_down = unit.down is not None
        self.down = folded_shortcut(unit.down)

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        samples, _, frames, joints = x.shape
        parts = self.conv(x).permute(0, 2, 3, 1).reshape(samples * frames, self.pairs.shape[2], -1)
        pairs = self.pairs.expand(parts.shape[0], -1, -1)
        mixed = torch.baddbmm(self.offset.expand(parts.shape[0], -1, -1), pairs, parts)
        out = mixed.view(samples, frames, joints, -1).permute(0, 3, 1, 2)
        if not self.has_down:
            return out.relu_()
        return accumulate(out, x if self.down is None else self.down(x))


@folds(StaticTopologyConv)
def _static(unit: StaticTopologyConv) -> nn.Module:
    return FoldedStaticTopology(unit)


class FoldedAdaptiveTopology(nn.Module):
    """:class:`protogcn.models.aagcn.AdaptiveTopologyConv`."""

    def __init__(self, unit: AdaptiveTopologyConv) -> None:
        super().__init__()
        self.count, self.width = len(unit.A), unit.width
        self.relation = folded_conv(unit.relation)
        weight, bias = weights(unit.mix)
        weight = weight.view(self.count, -1, weight.shape[1]).transpose(0, 1).flatten(1)
        weight, bias = scaled(weight, bias.view(self.count, -1).sum(0), *norm_map(unit.norm))
        self.mix = Conv(unit.mix, weight[:, :, None, None], bias)
        self.down = folded_shortcut(unit.down)
        self.attention = fold(unit.attention)
        self.alpha = as_python(unit.alpha)
        constant(self, unit.A, A=unit.A)
        self.A: Tensor

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        samples, channels, frames, joints = x.shape
        source, target = self.relation(x).unflatten(1, (2, self.count, self.width)).unbind(1)
        affinity = source.flatten(2, 3).mT @ target.flatten(2, 3)
        topology = torch.add(self.A, torch.tanh(affinity / (self.width * frames)), alpha=self.alpha)
        pairs = topology.permute(0, 3, 1, 2).reshape(samples, 1, joints * self.count, joints).to(x.dtype)
        mixed = (pairs @ x.permute(0, 2, 3, 1)).view(samples, frames, joints, self.count * channels)
        out = accumulate(self.mix(mixed.permute(0, 3, 1, 2)), x if self.down is None else self.down(x))
        attended: Tensor = self.attention(out)
        return attended


@folds(AdaptiveTopologyConv)
def _adaptive(unit: AdaptiveTopologyConv) -> nn.Module:
    if unit.down is None:
        raise CannotFold
    return FoldedAdaptiveTopology(unit)


class FoldedAttention(nn.Module):
    """:class:`protogcn.models.layers.attention.AttentionGraphConv`."""

    def __init__(self, unit: AttentionGraphConv) -> None:
        super().__init__()
        self.heads, self.width = unit.num_heads, unit.width
        before = unit.pre_norm
        if type(before) is not nn.LayerNorm or before.weight is None or before.bias is None:
            raise CannotFold
        self.eps = before.eps
        scale = unit.width**-0.25
        weight, bias = weights(unit.query_key)
        bias = (bias + weight @ before.bias.detach().double()) * scale
        weight = weight * before.weight.detach().double() * scale
        heads, heads_bias = weights(unit.heads)
        heads = heads.view(self.heads, -1, heads.shape[1]).transpose(0, 1).flatten(1)
        heads, heads_bias = scaled(heads, heads_bias.view(self.heads, -1).sum(0), *norm_map(unit.norm))
        constant(
            self,
            unit.topology,
            topology=unit.topology,
            query_key=weight,
            query_key_bias=bias,
            gather=heads,
            gather_bias=heads_bias,
        )
        self.topology: Tensor
        self.query_key: Tensor
        self.query_key_bias: Tensor
        self.gather: Tensor
        self.gather_bias: Tensor
        self.down = folded_shortcut(unit.down)

    def forward(self, x: Tensor) -> Tensor:
        nodes = x.permute(0, 2, 3, 1)
        joints, channels = nodes.shape[2:]
        normed = functional.layer_norm(nodes, (channels,), eps=self.eps)
        projected = functional.linear(normed, self.query_key, self.query_key_bias)
        by_head = projected.unflatten(-1, (2, self.heads, self.width)).permute(3, 0, 1, 4, 2, 5)
        query, key = by_head.contiguous().unbind(0)
        scores = query @ key.transpose(-1, -2)
        attention = torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1)
        topology = (attention * self.topology).transpose(2, 3)
        topology = topology.to(x.dtype, memory_format=torch.contiguous_format)
        gathered = topology.reshape(-1, joints * self.heads, joints) @ nodes.reshape(-1, joints, channels)
        mixed = functional.linear(gathered.view(*nodes.shape[:3], -1), self.gather, self.gather_bias)
        return accumulate(mixed.permute(0, 3, 1, 2), x if self.down is None else self.down(x))


@folds(AttentionGraphConv)
def _attention(unit: AttentionGraphConv) -> nn.Module:
    return FoldedAttention(unit)
