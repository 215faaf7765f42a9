"""Packages lie at the top of the checkout; recipes and ensemble scripts join the installed package by mapping."""

from setuptools import find_packages, setup

setup(
    packages=[
        *find_packages(include=["protogcn", "protogcn.*", "graphs", "graphs.*"]),
        "protogcn.configs",
        "protogcn.ensembles",
    ],
    package_dir={"protogcn.configs": "configs", "protogcn.ensembles": "ensembles"},
    package_data={"protogcn.configs": ["*.yaml", "*/*.yaml", "*/*/*.yaml"], "protogcn": ["py.typed"]},
)
