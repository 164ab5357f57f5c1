"""Ollama's own Python client against `hadal serve`, on a small real model; and vLLM's /tokenize and /detokenize."""

import datetime
import json
import time

import pytest

from conftest import TINY, Hadal
from local_server import LocalServer
from real_servers import CHINESE, CODER, need_client, start

need_client("ollama")

import ollama  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start(tmp_path_factory, CODER, "--context", "2048", "--parallel", "4") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    return ollama.Client(host=server.address, timeout=300)


def ask(client, text, options=(), **fields):
    return client.chat(**{"model": CODER, "messages": [{"role": "user", "content": text}],
                          "options": {"temperature": 0, "num_predict": 32, **dict(options)}, **fields})


def test_a_chat(client):
    answer = ask(client, "What is the capital of France? Answer in one word.")
    assert answer.message.role == "assistant" and "Paris" in answer.message.content
    assert answer.done and answer.done_reason == "stop" and answer.model == CODER
    assert answer.eval_count > 0 and answer.eval_duration > 0 and answer.prompt_eval_count > 0
    assert answer.total_duration >= answer.prompt_eval_duration + answer.eval_duration
    assert abs(time.time() - datetime.datetime.fromisoformat(answer.created_at[:19] + "+00:00").timestamp()) < 600


@pytest.mark.parametrize("text", ["Write a Python function that adds two numbers.", CHINESE, "Say 🙂🙃 three times."])
def test_a_stream_says_the_same(client, text):
    whole = ask(client, text)
    lines = list(ask(client, text, stream=True))
    assert "".join(line.message.content for line in lines) == whole.message.content
    assert not any("\ufffd" in line.message.content for line in lines)
    assert lines[-1].done and not any(line.done for line in lines[:-1])
    assert (lines[-1].eval_count, lines[-1].done_reason) == (whole.eval_count, whole.done_reason)


def test_generate(client):
    whole = client.generate(model=f"{CODER}:latest", prompt="What is 2 plus 2?", system="Answer briefly.", options={"temperature": 0, "num_predict": 8})
    assert "4" in whole.response and whole.model == f"{CODER}:latest"
    lines = list(client.generate(model=CODER, prompt="What is 2 plus 2?", system="Answer briefly.", stream=True, options={"temperature": 0, "num_predict": 8}))
    assert "".join(line.response for line in lines) == whole.response
    raw = client.generate(model=CODER, prompt="def add(a, b):", raw=True, options={"temperature": 0, "num_predict": 12})
    assert "return" in raw.response and raw.done_reason == "length"


def test_options(client):
    free = ask(client, "Count from 1 to 9, with commas.").message.content
    cut = ask(client, "Count from 1 to 9, with commas.", {"stop": [free[4:7]]})
    assert cut.message.content == free[:free.index(free[4:7])] and cut.done_reason == "stop"
    ask(client, "Invent a name.", {"num_predict": 1})  # a cached prompt rounds otherwise than a new one
    hot = [ask(client, "Invent a name.", {"temperature": 1, "seed": 7}).message.content for _ in range(2)]
    assert hot[0] == hot[1]
    prompt = ask(client, "Tell me a story.", {"num_predict": 1}).prompt_eval_count
    small = ask(client, "Tell me a story.", {"num_ctx": prompt + 5, "num_predict": -1})
    assert small.eval_count == 5 and small.done_reason == "length"
    for options, says in [({"num_ctx": 4096}, "num_ctx is 4096.*2048"), ({"num_ctx": 3}, "context holds 3"), ({"temperature": -1}, "temperature"),
                          ({"mirostat": 2}, "mirostat"), ({"unheard": 1}, "unheard")]:
        with pytest.raises(ollama.ResponseError, match=says) as refused:
            ask(client, "x", options)
        assert refused.value.status_code == 400


WEATHER = {"type": "function", "function": {"name": "get_weather", "description": "The weather of a city now", "parameters": {
    "type": "object", "properties": {"city": {"type": "string", "description": "Its name"}}, "required": ["city"]}}}


def test_tools(server, client):
    answer = ask(client, "What is the weather in Paris? Use the tool.", tools=[WEATHER], options={"num_predict": 64})
    for call in answer.message.tool_calls or []:  # a small model may choose to talk
        assert call.function.name == "get_weather" and isinstance(call.function.arguments, dict)
    messages = [{"role": "user", "content": "What is the weather in Paris?"},
                {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"city": "Paris"}}}]},
                {"role": "tool", "tool_name": "get_weather", "content": "It is 31 degrees and sunny."}]
    assert client.chat(model=CODER, messages=messages, tools=[WEATHER], options={"num_predict": 1}).message.content
    # The client puts a tool's keys into another order.
    read = server.ask("POST", "/api/chat", {"model": CODER, "messages": messages, "tools": [WEATHER], "stream": False, "options": {"num_predict": 1}})[2]
    messages[1]["tool_calls"] = [{"type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}]
    messages[2] = {"role": "tool", "content": messages[2]["content"]}
    theirs = server.ask("POST", "/v1/chat/completions", {"max_tokens": 1, "tools": [WEATHER], "messages": messages})[2]
    assert read["prompt_eval_count"] == theirs["usage"]["prompt_tokens"]


def test_forms(client):
    schema = {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 150}},
              "required": ["name", "age"], "additionalProperties": False}
    person = json.loads(ask(client, "Invent a person.", {"num_predict": 100}, format=schema).message.content)
    assert set(person) == {"name", "age"} and isinstance(person["age"], int)
    loose = ask(client, "Give me a JSON object with a key x.", {"num_predict": 200}, format="json")
    if loose.done_reason == "stop":
        assert isinstance(json.loads(loose.message.content), dict)


def test_thinking_is_taken(client):
    assert ask(client, "Say hello.", think=False).message.content
    for think in (True, "low"):
        with pytest.raises(ollama.ResponseError, match="does not think") as refused:
            ask(client, "Say hello.", think=think)
        assert refused.value.status_code == 400


def test_models(client):
    listed = client.list().models
    assert [model.model for model in listed] == [CODER] and listed[0].size > 1e8 and listed[0].modified_at
    assert listed[0].details.format == "gguf" and listed[0].details.family == "qwen2" and len(listed[0].digest) == 64
    shown = client.show(f"{CODER}:latest")
    assert "tools" in shown.capabilities and shown.modelinfo["qwen2.embedding_length"] == 896 and "im_start" in shown.template
    running = client.ps().models
    assert [model.model for model in running] == [CODER] and running[0].context_length == 2048
    with pytest.raises(ollama.ResponseError) as unknown:
        client.show("other")
    assert unknown.value.status_code == 404


def test_models_are_shown_to_ollamas_own_program(server):
    said = {"system": "", "template": "", "verbose": False, "options": None}  # by `ollama show`, whatever it is to do
    for names in ({"model": CODER, "name": ""}, {"model": "", "name": CODER}):
        status, _, shown = server.ask("POST", "/api/show", {**said, **names})
        assert status == 200 and "tools" in shown["capabilities"], shown
    assert server.ask("POST", "/api/show", {**said, "model": CODER, "system": "Be brief."})[0] == 400
    assert server.ask("POST", "/api/show", said)[0] == 404


def test_errors_are_the_clients_own(server, client):
    with pytest.raises(ollama.ResponseError, match="no model") as unknown:
        ask(client, "x", model="other")
    assert unknown.value.status_code == 404
    with pytest.raises(ollama.ResponseError, match="2048"):
        ask(client, "word " * 5000)
    with pytest.raises(ollama.ResponseError, match="images"):
        client.chat(model=CODER, messages=[{"role": "user", "content": "x", "images": ["AAAA"]}])
    assert server.ask("GET", "/api/version")[2]["version"]
    status, _, body = server.ask("POST", "/api/pull", {"model": "x"})
    assert status == 404 and list(body) == ["error"]


def test_leaving_a_stream_frees_its_place(server, client):
    stream = ask(client, "Write a very long story.", {"num_predict": 2000, "temperature": 1}, stream=True)
    next(stream)
    stream.close()
    server.wait_until_idle(20)


def test_keep_alive(tmp_path):
    with LocalServer(Hadal(tmp_path / "home"), TINY, "--context", "256", log=tmp_path / "log") as server:
        client = ollama.Client(host=server.address, timeout=60)
        name = client.list().models[0].model
        assert client.generate(model=name, keep_alive="1h").done_reason == "load"
        left = client.ps().models[0].expires_at
        assert 3000 < left.timestamp() - time.time() < 3700
        assert client.generate(model=name, prompt="Once upon", options={"num_predict": 3}).response, "without a chat template"
        assert client.generate(model=name, keep_alive=0).done_reason == "unload"
        until = time.monotonic() + 30
        while client.ps().models:
            assert time.monotonic() < until, "it stays loaded"
            time.sleep(0.1)
        assert client.generate(model=name, keep_alive=0).done_reason == "unload", "it is unloaded already"
        assert server.ask("POST", "/v1/completions", {"prompt": "Once upon", "max_tokens": 3})[0] == 200
        assert client.ps().models[0].expires_at.timestamp() - time.time() > 3000, "for others all is as it was"


def test_a_server_whose_models_never_stay(tmp_path):
    with LocalServer(Hadal(tmp_path / "home"), TINY, "--context", "256", "--keep-alive", "0") as server:
        assert server.ask("POST", "/v1/completions", {"prompt": "Once upon", "max_tokens": 3})[0] == 200
        until = time.monotonic() + 30
        while server.ask("GET", "/api/ps")[2]["models"]:
            assert time.monotonic() < until, "it stays loaded"
            time.sleep(0.1)


def test_tokens(server):
    def tokenize(**fields):
        status, _, body = server.ask("POST", "/tokenize", fields)
        assert status == 200, body
        return body
    text = "Hello 世界 <|im_end|>"
    plain = tokenize(model=CODER, prompt=text)
    assert plain["count"] == len(plain["tokens"]) and plain["max_model_len"] == 2048
    assert server.ask("POST", "/detokenize", {"tokens": plain["tokens"]})[2] == {"prompt": text}
    texts = tokenize(prompt="Hello world", return_token_strs=True)["token_strs"]
    assert "".join(texts) == "Hello world"
    messages = [{"role": "user", "content": "Say hello."}]
    chat = tokenize(messages=messages)
    used = server.ask("POST", "/v1/chat/completions", {"messages": messages, "max_tokens": 1})[2]["usage"]["prompt_tokens"]
    assert chat["count"] == used
    for path, body in [("/tokenize", {}), ("/tokenize", {"prompt": "x", "messages": messages}), ("/tokenize", {"prompt": 3}),
                       ("/detokenize", {"tokens": [10 ** 9]}), ("/detokenize", {"tokens": [-1]}), ("/detokenize", {"tokens": "x"})]:
        assert server.ask("POST", path, body)[0] == 400, (path, body)
