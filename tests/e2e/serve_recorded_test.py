"""Thinking and calls of tools that a model makes of itself, through all real clients, on models that are sure to (recorded_model.py)."""

import json

import pytest

from conftest import Hadal
from local_server import LocalServer
from real_servers import need_client
from recorded_model import DEEPSEEK, HERMES, write_model

for client in ("openai", "anthropic", "ollama"):
    need_client(client)

import anthropic  # noqa: E402
import ollama  # noqa: E402
import openai  # noqa: E402

MODEL = "recorded"
THOUGHT, ANSWER = "First I think of two and add two.", "It is 4."
QUESTION = [{"role": "user", "content": "What is 2 plus 2?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris, and what time is it?"}]
NAMES = ["get_weather", "get_time"]
ARGUMENTS = [{"city": "Paris"}, {}]
PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
TOOLS = [{"type": "function", "function": {"name": name, "description": "Tells it", "parameters": PARAMETERS}} for name in NAMES]
FLAT_TOOLS = [{"type": "function", **tool["function"]} for tool in TOOLS]


@pytest.fixture(scope="module", params=[HERMES, DEEPSEEK], ids=["hermes", "deepseek"])
def server(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("recorded")
    with LocalServer(Hadal(folder / "home"), write_model(folder / f"{MODEL}.gguf", request.param), "--context", "1024") as running:
        running.calls = request.param
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def claude(server):
    with anthropic.Anthropic(base_url=server.address, api_key="none", max_retries=0, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def llama(server):
    return ollama.Client(host=server.address, timeout=60)


def chat(client, messages, **options):
    return client.chat.completions.create(model=MODEL, messages=messages, **options)


def test_openais_chat_thinks(client):
    answer = chat(client, QUESTION)
    assert answer.choices[0].message.reasoning_content == THOUGHT and answer.choices[0].message.content == ANSWER
    assert answer.usage.completion_tokens_details.reasoning_tokens == 6 and answer.choices[0].finish_reason == "stop"
    pieces = [choice.delta for chunk in chat(client, QUESTION, stream=True) for choice in chunk.choices]
    assert "".join(getattr(piece, "reasoning_content", None) or "" for piece in pieces) == THOUGHT
    assert "".join(piece.content or "" for piece in pieces) == ANSWER


def test_thinking_is_switched_and_bounded(client):
    off = chat(client, QUESTION, reasoning_effort="none")
    assert off.choices[0].message.content == ANSWER and not hasattr(off.choices[0].message, "reasoning_content")
    assert off.usage.completion_tokens_details.reasoning_tokens == 0
    short = chat(client, QUESTION, extra_body={"thinking_budget": 2})
    assert short.choices[0].message.reasoning_content.strip() == "First I think" and short.choices[0].message.content == ANSWER
    cut = chat(client, QUESTION, max_tokens=3)
    assert THOUGHT.startswith(cut.choices[0].message.reasoning_content) and not cut.choices[0].message.content
    assert cut.choices[0].finish_reason == "length"


def test_openais_chat_calls(client):
    answer = chat(client, WEATHER, tools=TOOLS)
    message = answer.choices[0].message
    assert answer.choices[0].finish_reason == "tool_calls" and message.content == "I will look."
    assert [call.function.name for call in message.tool_calls] == NAMES
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == ARGUMENTS
    one = chat(client, WEATHER, tools=TOOLS, parallel_tool_calls=False).choices[0]
    assert [call.function.name for call in one.message.tool_calls] == NAMES[:1] and one.finish_reason == "tool_calls"
    told = [choice for chunk in chat(client, WEATHER, tools=TOOLS, stream=True) for choice in chunk.choices]
    calls = [call for choice in told for call in choice.delta.tool_calls or []]
    assert [(call.index, call.function.name) for call in calls] == list(enumerate(NAMES)) and told[-1].finish_reason == "tool_calls"
    assert "".join(choice.delta.content or "" for choice in told) == "I will look."
    results = [{"role": "tool", "tool_call_id": call.id, "content": "31"} for call in message.tool_calls]
    assert chat(client, [*WEATHER, message, *results], tools=TOOLS).choices[0].message.content == ANSWER
    assert chat(client, WEATHER, tools=TOOLS, tool_choice="none").choices[0].message.content == ANSWER


def test_a_call_that_must_be_made(server, client, claude):
    """In the model's own form, special tokens and all: it says nothing before, and one call, of the asked for function."""
    def calls(choice):
        return [(call.function.name, json.loads(call.function.arguments)) for call in choice.message.tool_calls or []]

    no_time = {"name": "get_time", "parameters": {"type": "object", "properties": {}, "additionalProperties": False}}
    tools = [TOOLS[0], {"type": "function", "function": no_time}]
    required = chat(client, WEATHER, tools=tools, tool_choice="required")
    assert calls(required.choices[0]) == [("get_weather", {"city": "Paris"})] and not required.choices[0].message.content
    assert required.choices[0].finish_reason == "tool_calls"
    if server.calls is DEEPSEEK:  # as it was recorded, token by token, but for the end: nothing can follow
        assert required.usage.completion_tokens == len(["calls begin", "call begin", "name", "separator", "arguments", "call end", "calls end"])
    named = {"type": "function", "function": {"name": "get_time"}}
    forced = chat(client, WEATHER, tools=tools, tool_choice=named)
    assert calls(forced.choices[0]) == [("get_time", {})] and forced.choices[0].finish_reason == "tool_calls"
    told = [choice for chunk in chat(client, WEATHER, tools=tools, tool_choice=named, stream=True) for choice in chunk.choices]
    assert [call.function.name for choice in told for call in choice.delta.tool_calls or []] == ["get_time"]
    assert "".join(choice.delta.content or "" for choice in told) == ""
    # One whose schema refers to itself, as generators of schemas write them.
    nested = {"name": "get_weather", "parameters": {
        "type": "object", "properties": {"city": {"$ref": "#/$defs/name"}}, "required": ["city"], "$defs": {"name": {"const": "Paris"}}}}
    tools = [{"type": "function", "function": nested}]
    assert calls(chat(client, WEATHER, tools=tools, tool_choice="required").choices[0]) == [("get_weather", {"city": "Paris"})]
    # What was cut off comes as far as it got, and never as text.
    cut = chat(client, WEATHER, tools=tools, tool_choice="required", max_tokens=2).choices[0]
    assert cut.finish_reason == "length" and not cut.message.content
    assert [call.function.name for call in cut.message.tool_calls] == ["get_weather"]
    assert '{"city": "Paris"}'.startswith(cut.message.tool_calls[0].function.arguments)
    given = [{"name": "get_time", "input_schema": no_time["parameters"]}]
    used = claude.messages.create(model=MODEL, max_tokens=100, messages=WEATHER, tools=given, tool_choice={"type": "any"})
    assert [(block.type, block.name, block.input) for block in used.content] == [("tool_use", "get_time", {})]


def test_responses_think(client):
    whole = client.responses.create(model=MODEL, input=QUESTION)
    assert [item.type for item in whole.output] == ["reasoning", "message"]
    assert whole.output[0].content[0].text == THOUGHT and whole.output_text == ANSWER
    assert whole.usage.output_tokens_details.reasoning_tokens == 6
    events = list(client.responses.create(model=MODEL, input=QUESTION, stream=True))
    assert "".join(event.delta for event in events if event.type == "response.reasoning_text.delta") == THOUGHT
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == ANSWER
    assert [item.type for item in events[-1].response.output] == ["reasoning", "message"]
    off = client.responses.create(model=MODEL, input=QUESTION, reasoning={"effort": "none"})
    assert [item.type for item in off.output] == ["message"] and off.output_text == ANSWER
    # Sent back, the thought is the assistant's again.
    longer = client.responses.create(model=MODEL, input=[*QUESTION, *whole.output, *QUESTION]).usage.input_tokens
    without = client.responses.create(model=MODEL, input=[*QUESTION, whole.output[1], *QUESTION]).usage.input_tokens
    assert longer > without + 20


def test_responses_call(client):
    whole = client.responses.create(model=MODEL, input=WEATHER, tools=FLAT_TOOLS)
    assert [item.type for item in whole.output] == ["message", "function_call", "function_call"]
    calls = whole.output[1:]
    assert [call.name for call in calls] == NAMES and [json.loads(call.arguments) for call in calls] == ARGUMENTS
    events = list(client.responses.create(model=MODEL, input=WEATHER, tools=FLAT_TOOLS, stream=True))
    told = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [json.loads(event.arguments) for event in told] == ARGUMENTS and [event.output_index for event in told] == [1, 2]
    results = [{"type": "function_call_output", "call_id": call.call_id, "output": "31"} for call in calls]
    assert client.responses.create(model=MODEL, input=[*WEATHER, *whole.output, *results], tools=FLAT_TOOLS).output_text == ANSWER


def test_anthropics_messages(claude):
    def ask(messages, **options):
        return claude.messages.create(model=MODEL, max_tokens=100, messages=messages, **options)
    thought = ask(QUESTION)
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert thought.content[0].thinking == THOUGHT and thought.content[1].text == ANSWER and thought.stop_reason == "end_turn"
    assert [block.type for block in ask(QUESTION, thinking={"type": "disabled"}).content] == ["text"]
    tools = [{"name": tool["name"], "description": "Tells it", "input_schema": PARAMETERS} for tool in FLAT_TOOLS]
    called = ask(WEATHER, tools=tools)
    assert [block.type for block in called.content] == ["text", "tool_use", "tool_use"] and called.stop_reason == "tool_use"
    assert [block.input for block in called.content[1:]] == ARGUMENTS
    with claude.messages.stream(model=MODEL, max_tokens=100, messages=WEATHER, tools=tools) as stream:
        assert [block.input for block in stream.get_final_message().content[1:]] == ARGUMENTS
    results = [{"type": "tool_result", "tool_use_id": block.id, "content": "31"} for block in called.content[1:]]
    told = [*WEATHER, {"role": "assistant", "content": called.content}, {"role": "user", "content": results}]
    assert ask(told, tools=tools).content[0].text == ANSWER


def test_ollamas_chat(llama):
    thought = llama.chat(model=MODEL, messages=QUESTION)
    assert thought.message.thinking == THOUGHT and thought.message.content == ANSWER
    assert llama.chat(model=MODEL, messages=QUESTION, think=False).message.thinking is None
    called = llama.chat(model=MODEL, messages=WEATHER, tools=TOOLS)
    assert [(call.function.name, call.function.arguments) for call in called.message.tool_calls] == list(zip(NAMES, ARGUMENTS))
    lines = list(llama.chat(model=MODEL, messages=WEATHER, tools=TOOLS, stream=True))
    assert [call.function.name for line in lines for call in line.message.tool_calls or []] == NAMES
    results = [{"role": "tool", "tool_name": name, "content": "31"} for name in NAMES]
    assert llama.chat(model=MODEL, messages=[*WEATHER, called.message, *results], tools=TOOLS).message.content == ANSWER
