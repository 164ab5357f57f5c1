"""For tests of the server with real clients (tests/requirements.txt) on small real models."""

import os
import pathlib
import sys

import pytest

from conftest import TESTS, Hadal, real_model
from local_server import LocalServer

PACKAGES = pathlib.Path(os.environ.get("HADAL_TEST_PACKAGES", TESTS.parent / "build/python/lib/python3.11/site-packages"))
CODER = "qwen2.5-coder-0.5b"
CHINESE = "请用中文写一句关于春天的话。"


def need_client(name):
    if not (PACKAGES / name).is_dir():
        pytest.skip(f"{PACKAGES}/{name} is not there (scripts/test makes it where PyPI can be reached)", allow_module_level=True)
    if sys.version_info[:2] != (3, 11):
        pytest.skip("the packages are for CPython 3.11", allow_module_level=True)
    if str(PACKAGES) not in sys.path:
        sys.path.append(str(PACKAGES))


def start(tmp_path_factory, model, *options):
    hadal = Hadal(tmp_path_factory.mktemp("serve") / "home")
    hadal.environment["HADAL_THREADS"] = "2"
    return LocalServer(hadal, real_model(model), *options)
