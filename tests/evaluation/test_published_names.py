"""Runs find the published numbers of their model, however a paper spells it."""

import pytest

from protogcn.data.benchmarks import get_benchmark
from protogcn.evaluation.published import find_model


@pytest.mark.parametrize(
    ("benchmark", "run", "published"),
    [
        ("ntu60_xsub", "protogcn", "ProtoGCN"),
        ("ntu60_xsub", "stgcnpp", "ST-GCN++"),
        ("ntu60_xsub", "posec3d", "PoseC3D"),
        ("ntu60_xsub", "skeletonclip", "SkeletonCLIP"),
        ("hmdb51", "posec3d_finetune", "PoseC3D fine-tune"),
        ("ucf101", "posec3d_scratch", "PoseC3D scratch"),
        ("ucf101", "posec3d", None),
        ("ntu60_xsub", "my_network", None),
    ],
)
def test_a_run_finds_the_published_name_of_its_model(benchmark: str, run: str, published: str | None) -> None:
    assert find_model(get_benchmark(benchmark), run) == published


def test_limb_maps_are_the_second_stream_of_posec3d() -> None:
    assert get_benchmark("ntu60_xsub").published["PoseC3D"] == {"j": 93.7, "b": 93.4, "2": 94.1}
