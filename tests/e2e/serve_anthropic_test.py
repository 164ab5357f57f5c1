"""Anthropic's own Python client against `hadal serve`, on a small real model."""

import json

import pytest

from real_servers import CHINESE, CODER, need_client, start

need_client("anthropic")

import anthropic  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start(tmp_path_factory, CODER, "--context", "2048", "--parallel", "4") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with anthropic.Anthropic(base_url=server.address, api_key="none", max_retries=0, timeout=300) as made:
        yield made


def fields(text, **options):
    return {"model": CODER, "max_tokens": 32, "messages": [{"role": "user", "content": text}], "extra_body": {"temperature": 0}, **options}


def ask(client, text, **options):
    return client.messages.create(**fields(text, **options))


def test_a_message(client):
    answer = ask(client, "What is the capital of France? Answer in one word.")
    assert answer.type == "message" and answer.role == "assistant" and answer.model == CODER
    assert [block.type for block in answer.content] == ["text"] and "Paris" in answer.content[0].text
    assert answer.stop_reason == "end_turn" and answer.usage.output_tokens > 0


@pytest.mark.parametrize("text", ["Write a Python function that adds two numbers.", CHINESE, "Say 🙂🙃 three times."])
def test_a_stream_says_the_same(client, text):
    whole = ask(client, text)
    pieces = []
    with client.messages.stream(**fields(text)) as stream:
        for piece in stream.text_stream:
            pieces.append(piece)
        final = stream.get_final_message()
    assert "".join(pieces) == final.content[0].text == whole.content[0].text
    assert not any("\ufffd" in piece for piece in pieces)
    assert final.stop_reason == whole.stop_reason
    total = [u.input_tokens + u.cache_read_input_tokens for u in (final.usage, whole.usage)]
    assert total[0] == total[1] and final.usage.output_tokens == whole.usage.output_tokens


def test_the_order_of_events(client):
    names = [event.type for event in client.messages.create(**fields("Say hello.", max_tokens=4), stream=True)]
    assert names[0] == "message_start" and names[-1] == "message_stop" and names[-2] == "message_delta"
    inner = [name for name in names if name.startswith("content_block")]
    assert inner[0] == "content_block_start" and inner[-1] == "content_block_stop" and set(inner[1:-1]) == {"content_block_delta"}


def test_a_system_prompt_and_many_turns(client):
    messages = [{"role": "user", "content": "My name is Ada."}, {"role": "assistant", "content": [{"type": "text", "text": "Hello, Ada."}]},
                {"role": "user", "content": [{"type": "text", "text": "What is"}, {"type": "text", "text": "my name?"}]}]
    answer = client.messages.create(model=CODER, max_tokens=20, messages=messages, extra_body={"temperature": 0},
                                    system=[{"type": "text", "text": "Answer briefly.", "cache_control": {"type": "ephemeral"}}])
    assert "Ada" in answer.content[0].text


def test_limits_and_stops(client):
    assert ask(client, "Tell me a story.", max_tokens=3).stop_reason == "max_tokens"
    free = ask(client, "Count from 1 to 9, with commas.").content[0].text
    cut = ask(client, "Count from 1 to 9, with commas.", stop_sequences=[free[4:7]])
    assert cut.stop_reason == "stop_sequence" and cut.stop_sequence == free[4:7]
    assert cut.content[0].text == free[:free.index(free[4:7])]


def test_the_second_time_the_prompt_is_cached(client):
    text = "Tell me about rivers. " * 30
    ask(client, text, max_tokens=1)
    assert ask(client, text, max_tokens=1).usage.cache_read_input_tokens > 50


def test_tokens_are_counted_as_they_are_used(client):
    body = {"model": CODER, "messages": [{"role": "user", "content": "How long is 春天?"}], "system": "Be brief."}
    counted = client.messages.count_tokens(**body).input_tokens
    used = client.messages.create(**body, max_tokens=1).usage
    assert counted == used.input_tokens + used.cache_read_input_tokens


WEATHER = {"name": "get_weather", "description": "The weather of a city now", "input_schema": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "get_weather"}])
def test_a_call_that_must_be_made(client, choice):
    options = dict(tools=[WEATHER], tool_choice=choice, max_tokens=60)
    answer = ask(client, "What is the weather in Paris?", **options)
    call = answer.content[-1]
    assert answer.stop_reason == "tool_use" and call.type == "tool_use" and call.name == "get_weather" and "Paris" in call.input["city"]
    with client.messages.stream(**fields("What is the weather in Paris?", **options)) as stream:
        assert stream.get_final_message().content[-1].input == call.input


def test_a_call_that_is_cut_off(client):
    options = dict(tools=[WEATHER], tool_choice={"type": "any"})
    for tokens in (2, 8, 12):
        answer = ask(client, "What is the weather in Paris?", max_tokens=tokens, **options)
        assert answer.stop_reason == "max_tokens" and [block.type for block in answer.content] == ["tool_use"]
        with client.messages.stream(**fields("What is the weather in Paris?", max_tokens=tokens, **options)) as stream:
            told = list(stream)
            json_so_far = "".join(event.partial_json for event in told if event.type == "input_json")
            final = stream.get_final_message()
        assert final.stop_reason == "max_tokens" and [block.type for block in final.content] == ["tool_use"]
        assert "tool_call" not in json_so_far and json_so_far[:1] in ("", "{")


def test_a_tools_result_is_read_as_openais(server, client):
    messages = [{"role": "user", "content": "What is the weather in Paris?"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "get_weather", "input": {"city": "Paris"}}]},
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "It is 31 degrees and sunny."}]}]
    counted = client.messages.count_tokens(model=CODER, messages=messages, tools=[WEATHER]).input_tokens
    assert client.messages.create(model=CODER, max_tokens=40, messages=messages, tools=[WEATHER]).content
    function = {"name": "get_weather", "description": WEATHER["description"], "parameters": WEATHER["input_schema"]}
    call = {"id": "t1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'}}
    theirs = server.ask("POST", "/v1/chat/completions", {"max_tokens": 1, "tools": [{"type": "function", "function": function}], "messages": [
        messages[0], {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "t1", "content": "It is 31 degrees and sunny."}]})[2]
    assert counted == theirs["usage"]["prompt_tokens"]


def test_thinking_is_taken(client):
    for thinking in [{"type": "disabled"}, {"type": "adaptive"}]:
        assert ask(client, "Say hello.", thinking=thinking, max_tokens=5).content
    with pytest.raises(anthropic.BadRequestError, match="does not think"):
        ask(client, "Say hello.", thinking={"type": "enabled", "budget_tokens": 1024}, max_tokens=5)


def test_errors_are_the_clients_own(server, client):
    with pytest.raises(anthropic.NotFoundError, match="no model"):
        ask(client, "x", model="other")
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        ask(client, "x", extra_body={"temperature": 3})
    with pytest.raises(anthropic.BadRequestError, match="mcp_servers"):
        ask(client, "x", extra_body={"mcp_servers": []})
    with pytest.raises(anthropic.BadRequestError, match="2048"):
        ask(client, "word " * 5000)
    with pytest.raises(anthropic.BadRequestError, match="content.0..type is none of those"):
        ask(client, [{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}])
    status, _, body = server.ask("GET", "/v1/messages")
    assert status == 405 and body["type"] == "error" and body["error"]["type"] == "invalid_request_error"
    status, _, body = server.ask("POST", "/v1/messages", b'{"messages": NaN}')
    assert status == 400 and json.dumps(body).startswith('{"type": "error"')


def test_leaving_a_stream_frees_its_place(server, client):
    with client.messages.stream(**fields("Write a very long story.", max_tokens=2000, extra_body={"temperature": 1})) as stream:
        next(iter(stream.text_stream))
    server.wait_until_idle(20)
