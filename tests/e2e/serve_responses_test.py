"""OpenAI's Responses API by OpenAI's own Python client against `hadal serve`, on a small real model."""

import json

import pytest

from real_servers import CHINESE, CODER, need_client, start

need_client("openai")

import openai  # noqa: E402
import pydantic  # noqa: E402


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start(tmp_path_factory, CODER, "--context", "2048", "--parallel", "4") as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=server.address + "/v1", api_key="none", max_retries=0, timeout=300) as made:
        yield made


def ask(client, question, **options):
    return client.responses.create(**{"model": CODER, "input": question, "temperature": 0, "max_output_tokens": 32, **options})


def test_a_response(client):
    response = ask(client, "What is the capital of France?", instructions="Answer in one word.", metadata={"who": "me"})
    assert "Paris" in response.output_text and response.status == "completed" and response.error is None
    assert [item.type for item in response.output] == ["message"] and response.output[0].status == "completed"
    assert response.model == CODER and response.metadata == {"who": "me"} and response.instructions == "Answer in one word."
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens and response.store is False
    chat = client.chat.completions.create(model=CODER, temperature=0, max_tokens=32, messages=[
        {"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "What is the capital of France?"}])
    assert response.output_text == chat.choices[0].message.content and response.usage.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize("text", ["Write a Python function that adds two numbers.", CHINESE])
def test_a_stream_says_the_same(client, text):
    whole = ask(client, text)
    events = list(ask(client, text, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created" and events[-1].type == f"response.{whole.status}"
    pieces = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(pieces) == whole.output_text == events[-1].response.output_text and not any("\ufffd" in piece for piece in pieces)
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


def test_the_clients_own_stream(client):
    with client.responses.stream(model=CODER, input="Say hello.", temperature=0, max_output_tokens=16) as stream:
        seen = {event.type for event in stream}
        final = stream.get_final_response()
    assert {"response.output_text.delta", "response.output_text.done", "response.completed"} <= seen
    assert final.output_text == ask(client, "Say hello.", max_output_tokens=16).output_text


def test_it_is_cut_where_it_is_told_to(client):
    response = ask(client, "Count from 1 to 99.", max_output_tokens=5)
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
    assert response.usage.output_tokens == 5


def test_a_conversation_goes_on_by_its_items(client):
    conversation = [{"role": "user", "content": "My name is Ada. Say hello."}]
    conversation += ask(client, conversation).output
    conversation.append({"role": "user", "content": "What is my name?"})
    assert "Ada" in ask(client, conversation).output_text


WEATHER = {"type": "function", "name": "get_weather", "description": "The weather of a city now", "strict": True, "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"], "additionalProperties": False}}


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "get_weather"}])
def test_tools(client, choice):
    conversation = [{"role": "user", "content": "What is the weather in Paris?"}]
    response = ask(client, conversation, tools=[WEATHER], tool_choice=choice, max_output_tokens=60)
    call = response.output[0]
    assert call.type == "function_call" and call.name == "get_weather" and "Paris" in json.loads(call.arguments)["city"]
    events = list(ask(client, conversation, tools=[WEATHER], tool_choice=choice, max_output_tokens=60, stream=True))
    told = [event for event in events if event.type == "response.function_call_arguments.done"]
    assert [event.arguments for event in told] == [call.arguments]
    assert [item.arguments for item in events[-1].response.output] == [call.arguments]
    conversation += response.output
    conversation.append({"type": "function_call_output", "call_id": call.call_id, "output": "It is 31 degrees and sunny."})
    answer = ask(client, conversation, instructions="Say what the tool said.")
    assert "31" in answer.output_text
    nested = {"type": "function", "function": {key: value for key, value in WEATHER.items() if key != "type"}}
    as_chat = client.chat.completions.create(model=CODER, tools=[nested], max_tokens=1, messages=[
        {"role": "user", "content": "What is the weather in Paris?"},
        {"role": "assistant", "content": "", "tool_calls": [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}]},
        {"role": "tool", "tool_call_id": call.call_id, "name": call.name, "content": "It is 31 degrees and sunny."}])
    assert ask(client, conversation, tools=[WEATHER]).usage.input_tokens == as_chat.usage.prompt_tokens


def test_a_call_that_is_cut_off(client):
    def begin(**more):
        return ask(client, "What is the weather in Paris?", tools=[WEATHER], tool_choice="required", max_output_tokens=16, **more)
    response = begin(temperature=0)
    assert response.status == "incomplete" and response.incomplete_details.reason == "max_output_tokens"
    assert [(item.type, item.status, item.name) for item in response.output] == [("function_call", "incomplete", "get_weather")]
    last = list(begin(temperature=0, stream=True))[-1]
    assert last.type == "response.incomplete"
    assert [(item.status, item.arguments) for item in last.response.output] == [("incomplete", response.output[0].arguments)]


class Person(pydantic.BaseModel):
    name: str
    age: int


def test_an_answer_in_a_form(client):
    response = client.responses.parse(model=CODER, input="Invent a person.", temperature=0, max_output_tokens=100, text_format=Person)
    assert isinstance(response.output_parsed, Person)
    loose = ask(client, "Give me a JSON object with a key x.", max_output_tokens=200, text={"format": {"type": "json_object"}})
    if loose.status == "completed":
        assert isinstance(json.loads(loose.output_text), dict)


def test_log_probabilities(client):
    response = ask(client, "Say hello.", max_output_tokens=5, top_logprobs=3, include=["message.output_text.logprobs"])
    part = response.output[0].content[0]
    assert b"".join(bytes(token.bytes) for token in part.logprobs).decode() == part.text
    assert all(len(token.top_logprobs) == 3 and token.logprob == token.top_logprobs[0].logprob for token in part.logprobs)


def test_errors_are_the_clients_own(client):
    with pytest.raises(openai.NotFoundError, match="no model"):
        ask(client, "x", model="other")
    for options, says in [({"store": True}, "keeps no answers"), ({"previous_response_id": "resp_1"}, "previous_response_id"),
                          ({"background": True}, "background"), ({"conversation": "conv_1"}, "conversation"),
                          ({"tools": [{"type": "web_search"}]}, "runs no tools"), ({"temperature": 3}, "temperature"),
                          ({"truncation": "auto"}, "truncation"), ({"reasoning": {"effort": "low"}}, "does not think"), ({"extra_body": {"unheard": 1}}, "unheard"),
                          ({"text": {"format": {"type": "json_schema", "name": "x", "schema": {"not": {}}}}}, "not")]:
        with pytest.raises(openai.BadRequestError, match=says):
            ask(client, "x", **options)
    with pytest.raises(openai.BadRequestError) as long:
        ask(client, "word " * 5000)
    assert long.value.code == "context_length_exceeded" and long.value.param == "input"
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve("resp_1")


def test_leaving_a_stream_frees_its_place(server, client):
    stream = ask(client, "Write a very long story.", stream=True, max_output_tokens=2000, temperature=1)
    next(iter(stream))
    stream.close()
    server.wait_until_idle(20)
