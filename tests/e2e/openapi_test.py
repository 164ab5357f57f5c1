"""GET /openapi.json, and schemathesis (tests/requirements.txt), which asks the server whatever the document allows and does not."""

import json
import os
import pathlib
import struct
import subprocess

import pytest

from conftest import TESTS, TINY, Hadal
from local_server import LocalServer

PYTHON = pathlib.Path(os.environ.get("HADAL_TEST_PYTHON", TESTS.parent / "build/python/bin/python3"))
SCHEMATHESIS = PYTHON.parent.parent / "lib/python3.11/site-packages/schemathesis"
SOAK_SECONDS = int(os.environ.get("HADAL_SOAK_SECONDS", "0"))

# Of a model that thinks and calls tools, so that all of the server is reached.
TEMPLATE = """{% if tools %}{{ tools | tojson }}<tool_call>{% endif %}{% for message in messages %}<{{ message.role }}>{{ message.content }}
{% endfor %}<assistant>{% if enable_thinking %}<think>{% endif %}"""

# A request of the right form may still be refused: a token beyond the vocabulary, a call that no tool has.
LEFT_OUT = "positive_data_acceptance"


@pytest.fixture
def hadal(tmp_path):
    return Hadal(tmp_path / "home")


def with_template(model, template, path):
    """A GGUF file with another chat template, filled up with blanks to 32 bytes, so that all behind it stays aligned."""
    name = b"tokenizer.chat_template"
    data = model.read_bytes().replace(name, b"tokenizer.past_template")
    text = template.encode()
    text += b" " * (-(8 + len(name) + 4 + 8 + len(text)) % 32)
    entry = struct.pack("<Q", len(name)) + name + struct.pack("<IQ", 8, len(text)) + text
    magic_to_tensors, entries = data[:16], struct.unpack("<Q", data[16:24])[0]
    path.write_bytes(magic_to_tensors + struct.pack("<Q", entries + 1) + entry + data[24:])
    return path


def add_key(hadal):
    return hadal("key", "add", "schemathesis").stdout.decode().strip()


def test_the_document(hadal):
    with LocalServer(hadal, TINY) as server:
        status, headers, document = server.ask("GET", "/openapi.json")
        assert status == 200 and headers["Content-Type"] == "application/json"
        assert document["openapi"].startswith("3.1") and document["info"]["title"] == "hadal"
        assert hadal("--version").stdout.decode().split()[1] == document["info"]["version"]
        assert "post" in document["paths"]["/v1/chat/completions"] and "get" in document["paths"]["/openapi.json"]


def test_the_document_wants_a_key_too(hadal):
    key = add_key(hadal)
    with LocalServer(hadal, TINY) as server:
        assert server.ask("GET", "/openapi.json")[0] == 401
        assert server.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {key}"})[0] == 200


def narrowed(document, folder, **values):
    """The document in a file, with fields and parameters of these names held to these values: what is random rarely exists."""
    for schema in document["components"]["schemas"].values():
        for name, given in values.items():
            field = schema.get("properties", {}).get(name, {})
            if "maxLength" in field:
                schema["properties"][name] = {"enum": given + [None] * ("null" in field["type"])}
    for path in document["paths"].values():
        for operation in path.values():
            for parameter in operation.get("parameters", []):
                parameter["schema"] = {"enum": values[parameter["name"]]}
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    return file


@pytest.mark.skipif(not SCHEMATHESIS.is_dir(), reason=f"{SCHEMATHESIS} is not there (scripts/test makes it where PyPI can be reached)")
def test_whatever_is_asked_gets_what_the_document_says(hadal, tmp_path):
    key = add_key(hadal)
    # As many requests each time, the same ones; by hand others, for as long as wanted.
    effort = ["--max-time", str(SOAK_SECONDS)] if SOAK_SECONDS else ["--seed", "1", "--max-examples", "20"]
    with LocalServer(hadal, with_template(TINY, TEMPLATE, tmp_path / "tiny.gguf"), "--context", "256") as server:
        document = server.ask("GET", "/openapi.json", headers={"Authorization": f"Bearer {key}"})[2]
        file = narrowed(document, tmp_path, model=["tiny", "other"], file=["main.js", "no.js"])
        done = subprocess.run(
            [PYTHON, "-m", "schemathesis.cli", "run", file, "--url", server.address, "--header", f"Authorization: Bearer {key}",
             "--checks", "all", "--exclude-checks", LEFT_OUT, "--phases", "coverage,fuzzing", "--continue-on-failure", "--no-shrink",
             "--request-timeout", "60", "--max-response-time", "60", "--generation-database", "none", "--no-color", *effort],
            cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SOAK_SECONDS + 500,
            env={**hadal.environment, "HOME": str(tmp_path)})
        assert done.returncode == 0, done.stdout[-20000:] + done.stderr[-2000:]
        assert "Tested: 0" not in done.stdout, done.stdout[-2000:]
        # Nothing that was asked for goes on, and the server is as it was.
        models = server.ask("GET", "/v1/models", headers={"Authorization": f"Bearer {key}"})[2]["data"]
        assert [model["answers"] for model in models] == [0]
        assert server.ask("GET", "/health")[0] == 200
