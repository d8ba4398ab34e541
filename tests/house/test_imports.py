"""Importing stays light, and what is exported exists."""

import importlib.metadata
import subprocess
import sys

import pytest

import skltransfer

#: Not pandas: scikit-learn 1.9 imports it, where it is installed.
HEAVY = ("onnxruntime", "onnx", "PIL", "torch", "google.protobuf", "matplotlib", "tqdm", "polars")


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """Modules that ``import skltransfer`` brings into a fresh interpreter."""
    code = "import sys, skltransfer; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


@pytest.mark.parametrize("library", HEAVY)
def test_importing_the_package_does_not_import(library, imported):
    assert library not in imported


def test_everything_exported_is_sorted():
    assert list(skltransfer.__all__) == sorted(skltransfer.__all__)


@pytest.mark.parametrize("name", skltransfer.__all__)
def test_everything_exported_exists(name):
    assert hasattr(skltransfer, name)


def test_everything_public_is_exported():
    public = {name for name, value in vars(skltransfer).items() if not name.startswith("_") and not _is_module(value)}
    assert public == set(skltransfer.__all__) - {"__version__"}


def _is_module(value: object) -> bool:
    return isinstance(value, type(sys))


def test_version_is_that_of_the_installed_distribution():
    assert skltransfer.__version__ == importlib.metadata.version("skltransfer")


def test_errors_are_pickled_with_what_they_say():
    import pickle

    from skltransfer.errors import Failure, SampleError

    error = pickle.loads(pickle.dumps(SampleError(Failure(3, "a.jpg", "is empty"))))
    assert (error.index, error.path, error.reason) == (3, "a.jpg", "is empty")
    assert "sample 3 ('a.jpg'): is empty" in str(error)


EMBEDS = """
import sys

def refuse(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
        raise RuntimeError(f"a socket was opened: {event}")

sys.addaudithook(refuse)
from skltransfer import PretrainedEmbedder
from skltransfer.datasets import load_emoji
print(PretrainedEmbedder(device="cpu").fit_transform(load_emoji().images[:2]).shape)
if len(sys.argv) > 1:
    import socket
    socket.create_connection(("127.0.0.1", 9))
"""


def test_embedding_opens_no_socket():
    done = subprocess.run([sys.executable, "-c", EMBEDS], capture_output=True, text=True)
    assert done.stdout.strip() == "(2, 704)", done.stderr


def test_a_socket_would_be_noticed():
    done = subprocess.run([sys.executable, "-c", EMBEDS, "connect"], capture_output=True, text=True)
    assert "a socket was opened" in done.stderr
