"""GET /openapi.json, and schemathesis (tests/requirements.txt), which asks the server whatever the document allows and does not."""

import json
import os
import pathlib
import struct
import subprocess

import pytest

from conftest import TESTS, TINY, Hadal
from local_server import LocalServer
from real_servers import need_client
from recorded_model import DEEPSEEK, write_model

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


def pieces_of(server, path, body):
    """A stream as it came: of events their names and data, of lines each."""
    status, headers, text = server.text("POST", path, body)
    assert status == 200, text
    if headers["Content-Type"] == "application/x-ndjson":
        return "application/x-ndjson", text.splitlines()
    assert headers["Content-Type"] == "text/event-stream"
    events = [dict(line.split(": ", 1) for line in event.splitlines() if not line.startswith(":")) for event in text.split("\n\n")]
    return "text/event-stream", [event for event in events if event]


def validators(document, schema):
    """(of a line or event as it is, of the JSON in an event's data)"""
    import jsonschema_rs

    def made(part):
        return jsonschema_rs.Draft202012Validator({**part, "components": document["components"]})

    whole = document["components"]["schemas"][schema["$ref"].rsplit("/")[-1]]
    data = whole.get("properties", {}).get("data")
    inner = data and [part for part in data.get("anyOf", [data]) if "contentSchema" in part][0]["contentSchema"]
    return made(schema), inner and made(inner)


QUESTION = [{"role": "user", "content": "What is 2 plus 2?"}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "parameters": PARAMETERS}
CHAT_TOOLS = {"tools": [{"type": "function", "function": FUNCTION}]}
THINKS_AND_CALLS = {
    "/v1/chat/completions": [{}, {"logprobs": True, "top_logprobs": 2, "n": 2}, {"stream_options": {"include_usage": True}}, CHAT_TOOLS,
                             {**CHAT_TOOLS, "tool_choice": "required"}, {"max_tokens": 2}, {"stop": ["two"], "reasoning_effort": "none"}],
    "/v1/completions": [{"logprobs": 2, "echo": True}, {"stream_options": {"include_usage": True}, "n": 2}, {"max_tokens": 2}],
    "/v1/responses": [{}, {"include": ["message.output_text.logprobs"], "top_logprobs": 2}, {"tools": [{"type": "function", **FUNCTION}]},
                      {"max_output_tokens": 16, "metadata": {"a": "b"}, "instructions": "Be brief."}],
    "/v1/messages": [{}, {"thinking": {"type": "disabled"}}, {"tools": [{"name": "get_weather", "input_schema": PARAMETERS}]},
                     {"stop_sequences": ["It"]}, {"max_tokens": 2}],
    "/api/chat": [{}, {"think": False, "logprobs": True, "top_logprobs": 2}, CHAT_TOOLS, {"options": {"num_predict": 2}}],
    "/api/generate": [{}, {"logprobs": True}, {"raw": True, "options": {"num_predict": 2}}],
}


def test_each_piece_of_a_stream_is_what_the_document_says(hadal, tmp_path):
    need_client("jsonschema_rs")
    with LocalServer(hadal, write_model(tmp_path / "recorded.gguf", DEEPSEEK), "--context", "1024") as server:
        document = server.ask("GET", "/openapi.json")[2]
        streams = {(path, kind): answer["schema"] for path, operations in document["paths"].items() for operation in operations.values()
                   for kind, answer in operation["responses"]["200"]["content"].items() if kind in ("text/event-stream", "application/x-ndjson")}
        assert {path for path, _ in streams} == THINKS_AND_CALLS.keys()
        for path, all_fields in THINKS_AND_CALLS.items():
            seen = set()
            for fields in all_fields:
                subject = {"prompt": "Once"} if path in ("/v1/completions", "/api/generate") else {"input": QUESTION} if path == "/v1/responses" else \
                    {"messages": QUESTION}
                limit = {"max_tokens": 100} if path == "/v1/messages" else {}
                kind, pieces = pieces_of(server, path, {"model": "recorded", "stream": True, **subject, **limit, **fields})
                whole, inner = validators(document, streams[path, kind])
                if inner:
                    assert all(whole.is_valid(event) for event in pieces) and not whole.is_valid({})
                    pieces = [event["data"] for event in pieces]
                if path in ("/v1/chat/completions", "/v1/completions"):
                    assert pieces.pop() == "[DONE]"
                for piece in pieces:
                    value, validator = json.loads(piece), inner or whole
                    errors = [error.message for error in validator.iter_errors(value)]
                    assert not errors, (path, fields, piece, errors)
                    seen.add(value.get("type", value.get("done")))
                    # Nor would it be right with a field more, or one less.
                    assert not validator.is_valid({**value, "more": 1})
                    assert not validator.is_valid(dict(list(value.items())[1:]))
            if path == "/v1/messages":
                assert len(seen) == 7
            if path == "/v1/responses":
                assert len(seen) == 13, seen
        # An error amid a stream has its schema, too: here of a request that was refused.
        error = server.ask("POST", "/v1/chat/completions", {"messages": QUESTION, "stream": True, "max_tokens": -1})[2]
        assert validators(document, streams["/v1/chat/completions", "text/event-stream"])[1].is_valid(error)


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
