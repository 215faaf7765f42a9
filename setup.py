"""Packages lie at the top of the checkout; recipes and thin scripts join the installed package by mapping."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["protogcn", "protogcn.*", "graphs", "graphs.*"]),
        "protogcn.configs",
        "protogcn.ensembles",
        "protogcn.benchmarks",
    ],
    package_dir={
        "protogcn.configs": "configs",
        "protogcn.ensembles": "ensembles",
        "protogcn.benchmarks": "benchmarks",
    },
    package_data={"protogcn.configs": ["*.yaml", "*/*.yaml", "*/*/*.yaml"], "protogcn": ["py.typed"]},
)
