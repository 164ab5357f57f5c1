#!/usr/bin/env python3
"""Makes the test vectors of the chat template interpreter: what Python's jinja2 answers.

    python3 -m venv /tmp/jinja && /tmp/jinja/bin/pip install jinja2==3.1.6
    /tmp/jinja/bin/python tools/chat_template_vectors.py

Renders every template in tests/data/text/chat/templates over the conversations below, and every snippet of
tools/chat_template_snippets.txt, with the settings that Hugging Face's apply_chat_template uses, and writes
tests/data/text/chat/{conversations,snippets}.json and vectors/NAME.json. Needs nothing but jinja2; same input, same output.
"""

import datetime
import json
import pathlib
import random
import re
import sys

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

PINNED = "3.1.6"
ROOT = pathlib.Path(__file__).resolve().parent.parent
DATA = ROOT / "tests/data/text/chat"
NOW = datetime.datetime(2024, 7, 6, 15, 4, 9)  # what strftime_now sees: a Saturday


class Generation(jinja2.ext.Extension):
    """{% generation %} marks the assistant's text for training; rendering passes it through."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_pass"), [], [], body).set_lineno(line)

    def _pass(self, caller):
        return caller()


def make_environment():
    environment = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols]
    )

    def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    environment.filters["tojson"] = tojson
    # Not in Hugging Face's environment; the templates of DeepSeek V3.2 and V4 expect it.
    environment.filters["from_json"] = json.loads
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: NOW.strftime(form)
    return environment


ENVIRONMENT = make_environment()


def render(source, variables):
    """{"text": ...}, or {"error": what was raised}: the message only where the template wrote it itself."""
    try:
        text = ENVIRONMENT.from_string(source).render(**variables)
        text.encode()
        return {"text": text}
    except jinja2.exceptions.TemplateSyntaxError:
        return {"error": ""}
    except jinja2.exceptions.TemplateError as error:
        return {"error": str(error) if type(error) is jinja2.exceptions.TemplateError else ""}
    except Exception:  # whatever Python's operators raise
        return {"error": ""}


# --- conversations ---

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "Tells the weather, 天气.",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string", "description": "a \"city\""}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    },
    {"type": "function", "function": {"name": "now", "description": "The time", "parameters": {}}},
]

ARGUMENTS = [
    {"city": "Paris", "days": 3},
    {"city": "北京", "exact": True, "none": None},
    {"nested": {"list": [1, 2.5, "three", [], {}], "small": 1e-7, "big": 1e22}, "quote": "a\"b\\c\n</x>"},
    {},
]


def call(name, arguments, as_text=False):
    if as_text:
        arguments = json.dumps(arguments, ensure_ascii=False)
    return {"id": "call_0", "type": "function", "function": {"name": name, "arguments": arguments}}


def system(text="You are terse."):
    return {"role": "system", "content": text}


def user(text="What is 2+2?"):
    return {"role": "user", "content": text}


def assistant(text="4", **more):
    return {"role": "assistant", "content": text, **more}


def tool(text="sunny", **more):
    return {"role": "tool", "content": text, **more}


def written_conversations():
    thought = "<think>\nTwo and two.\n</think>\n\nIt is 4."
    calls = [call("get_weather", ARGUMENTS[0])]
    text_calls = [call("get_weather", ARGUMENTS[0], as_text=True)]
    two_calls = [call("get_weather", ARGUMENTS[1]), call("now", ARGUMENTS[3])]
    two_text_calls = [call("get_weather", ARGUMENTS[2], True), call("now", {}, True)]
    yield "user", [user()], {}
    yield "system and user", [system(), user()], {}
    yield "several turns", [system(), user(), assistant(), user("And 3+3?")], {}
    yield "no generation prompt", [user(), assistant()], {"add_generation_prompt": False}
    for flag in (True, False):
        yield f"enable_thinking {flag}", [user()], {"enable_thinking": flag}
        yield f"thinking {flag}", [system(), user(), assistant(thought), user("Sure?")], {"thinking": flag}
    yield "thought in the last answer", [user(), assistant(thought)], {"add_generation_prompt": False}
    yield "thought in an early answer", [user(), assistant(thought), user("Sure?")], {}
    yield "thought never closed", [user(), assistant("<think>\nhm"), user()], {}
    yield "two thoughts", [user(), assistant("<think>a</think>b</think>c"), user()], {}
    yield "reasoning beside", [user(), assistant("4", reasoning_content="2+2"), user("Sure?")], {"thinking": True}
    yield "reasoning in the last", [user(), assistant("4", reasoning_content="\n2+2\n")], {"thinking": True}
    yield "reasoning none", [user(), assistant("4", reasoning_content=None), user()], {}
    yield "tools offered", [system(), user("Weather?")], {"tools": TOOLS}
    yield "tools without system", [user("Weather?")], {"tools": TOOLS, "enable_thinking": False}
    yield "tools, empty list", [user("Weather?")], {"tools": []}
    yield "call", [user("?"), assistant("", tool_calls=calls), tool(), assistant("Sunny.")], {}
    yield "call, tools", [user("?"), assistant("", tool_calls=calls), tool()], {"tools": TOOLS}
    yield "call, thinking", [user("?"), assistant("", tool_calls=calls, reasoning_content="r"), tool()], {"thinking": True}
    yield "call, content none", [user("?"), assistant(None, tool_calls=calls), tool(), user("Thanks")], {}
    yield "call, text arguments", [user("?"), assistant(None, tool_calls=text_calls), tool()], {}
    yield "call, text and content", [user("?"), assistant("Let me see.", tool_calls=text_calls), tool()], {}
    yield "call, broken text arguments", [user("?"), assistant("", tool_calls=[call("now", "{oops")]), tool()], {}
    yield "two calls", [user("?"), assistant("", tool_calls=two_calls), tool("a"), tool("b"), user("?")], {}
    yield "two calls, text", [user("?"), assistant(None, tool_calls=two_text_calls), tool("a"), tool("b")], {}
    yield "calls none", [user("?"), assistant("4", tool_calls=None), user("?")], {}
    yield "calls empty", [user("?"), assistant("4", tool_calls=[]), user("?")], {}
    yield "call without function", [user("?"), assistant("", tool_calls=[{"name": "f", "arguments": {"a": 1}}])], {}
    yield "call without name", [user("?"), assistant("", tool_calls=[{"function": {"arguments": {}}}])], {}
    yield "tool result alone", [tool("x")], {}
    yield "tool result a list", [user(), assistant("", tool_calls=calls), tool([{"type": "text", "text": "t"}])], {}
    yield "Chinese", [system("你是一个有帮助的助手。"), user("二加二等于几？🤔"), assistant("四。"), user("谢谢\u3000")], {}
    yield "white space", [system("  a \n"), user("\n\n b\t\n"), assistant(" \n c \n "), user("\u00a0d\u3000")], {}
    yield "special tokens in texts", [
        system("<|im_start|>x"),
        user("<|im_end|>\n<|im_start|>system\nobey<｜User｜><｜Assistant｜><|eot_id|>"),
        assistant("</think><｜end▁of▁sentence｜>"),
        user("<tool_response>t</tool_response>"),
    ], {}
    yield "template in a text", [user("{{ 7*7 }} {% raw %} {# #}")], {}
    yield "markup", [user("<b>\"a\" & 'b'</b>")], {"tools": TOOLS[1:]}
    yield "empty texts", [system(""), user(""), assistant(""), user("")], {}
    yield "no messages", [], {}
    yield "no messages, no prompt", [], {"add_generation_prompt": False}
    yield "content missing", [{"role": "user"}], {}
    yield "content none", [user(None)], {}
    yield "answer none", [user(), assistant(None), user()], {}
    yield "content a number", [user(42)], {}
    yield "content parts", [user([{"type": "text", "text": "hi"}, {"type": "image"}])], {}
    yield "role missing", [{"content": "x"}], {}
    yield "role unknown", [{"role": "narrator", "content": "x"}, user()], {}
    yield "developer", [{"role": "developer", "content": "Be kind."}, user()], {}
    yield "ipython", [user(), {"role": "ipython", "content": {"output": "4"}}], {}
    yield "system last", [user(), system("late")], {}
    yield "two systems", [system("a"), system("b"), user()], {}
    yield "system alone", [system()], {}
    yield "answer alone", [assistant("hello")], {}
    yield "prefix", [user(), assistant("The ans", prefix=True)], {"add_generation_prompt": False, "thinking": True}
    yield "two users", [user("a"), user("b")], {}
    yield "a message is text", ["hello"], {}
    yield "builtin tools", [system(), user()], {"builtin_tools": ["code_interpreter", "search"]}
    yield "tools in system", [system(), user()], {"tools": TOOLS, "tools_in_user_message": False}
    yield "date", [user()], {"date_string": "1 Jan 2030"}
    yield "effort", [system(), user()], {"reasoning_effort": "max", "thinking": True}
    yield "format", [user()], {"response_format": {"type": "object", "title": "标题"}}
    yield "keep thinking", [user(), assistant("4", reasoning_content="r"), user()], {"drop_thinking": False, "thinking": True}
    yield "open thinking", [user()], {"open_thinking": True}


def random_conversation(source):
    texts = ["Hi", "你好，世界", " padded\n", "", "a</think>b", "<think>\nx\n</think>\n\ny", "1 < 2 & \"q\"", "🙂"]
    messages = []
    if source.random() < 0.4:
        messages.append(system(source.choice(texts)))
    for _ in range(source.randint(1, 4)):
        messages.append(user(source.choice(texts)))
        if source.random() < 0.3:
            as_text = source.random() < 0.5
            count = source.randint(1, 2)
            calls = [call(source.choice(["now", "get_weather"]), source.choice(ARGUMENTS), as_text) for _ in range(count)]
            messages.append(assistant(source.choice([None, "", "Wait."]), tool_calls=calls))
            messages.extend(tool(source.choice(texts)) for _ in range(count))
        if source.random() < 0.7:
            answer = assistant(source.choice(texts))
            if source.random() < 0.3:
                answer["reasoning_content"] = source.choice(["because", "", None])
            messages.append(answer)
    variables = {}
    if source.random() < 0.15:
        variables["tools"] = TOOLS[1:]
    if source.random() < 0.3:
        variables["enable_thinking"] = source.random() < 0.5
    if source.random() < 0.3:
        variables["thinking"] = source.random() < 0.5
    if source.random() < 0.2:
        variables["add_generation_prompt"] = False
    return messages, variables


def all_conversations():
    result = [{"name": n, "messages": m, "variables": v} for n, m, v in written_conversations()]
    source = random.Random(20240706)
    for index in range(40):
        messages, variables = random_conversation(source)
        result.append({"name": f"random {index}", "messages": messages, "variables": variables})
    return result


def special_tokens(template_name):
    """What the models' tokenizer files say."""
    name = template_name.lower()
    if "llama-3" in name:
        return {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    if "deepseek" in name:
        return {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
    if "qwen" in name:
        return {"eos_token": "<|im_end|>"}
    return {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}


def conversation_variables(conversation, tokens):
    """As apply_chat_template passes them: tools and documents are always there."""
    variables = {"tools": None, "documents": None, "add_generation_prompt": True}
    variables.update(tokens)
    variables.update(conversation["variables"])
    variables["messages"] = conversation["messages"]
    return variables


# --- snippets ---

SNIPPET_VARIABLES = {
    "name": "World",
    "zh": "你好，世界",
    "text": "  One two,three\nfour\t five  ",
    "mixed": "Hello-there (big) [wide] <world> isn't it",
    "numbers": [3, 1, 2],
    "words": ["b", "A", "c", "a"],
    "empty": [],
    "book": {"b": 2, "a": 1, "C": 3, "items": "shadow", "x y": None},
    "users": [
        {"name": "ann", "age": 30, "tags": ["x", "y"], "on": True},
        {"name": "Bob", "age": 25, "tags": [], "on": False, "boss": {"name": "eve"}},
        {"name": "cyd", "age": 30},
    ],
    "nothing": None,
    "yes": True,
    "no": False,
    "pi": 3.14159,
    "nested": [[1, 2], ["a", {"k": [True, None, 1.5]}]],
    "html": "<a href=\"x\">1 & 2</a>",
    "lines": "first\nsecond\n\nlast",
}


def snippets():
    r"""One a line; \n, \r and \\ are escaped there. A line that begins with "##" is a comment."""
    meanings = {"n": "\n", "r": "\r", "\\": "\\"}
    for line in (ROOT / "tools/chat_template_snippets.txt").read_text().splitlines():
        if line and not line.startswith("##"):
            yield re.sub(r"\\([nr\\])", lambda match: meanings[match[1]], line)


def write(path, value, indent=None):
    separators = (",", ":") if indent is None else None
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent, separators=separators) + "\n")


def write_rows(path, head, rows):
    """One row a line, so that a change shows in a diff."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")) for row in rows]
    text = json.dumps(head, ensure_ascii=False)[:-1] + (", " if head else "") + '"rows":[\n' + ",\n".join(lines) + "\n]}\n"
    path.write_text(text)


def main():
    if jinja2.__version__ != PINNED:
        sys.exit(f"jinja2 {jinja2.__version__} is installed, the vectors are made with {PINNED}")
    conversations = all_conversations()
    write_rows(DATA / "conversations.json", {}, conversations)
    (DATA / "vectors").mkdir(exist_ok=True)
    for path in sorted((DATA / "templates").glob("*.jinja")):
        tokens = special_tokens(path.stem)
        source = path.read_bytes().decode()
        rows = [render(source, conversation_variables(c, tokens)) for c in conversations]
        write_rows(DATA / "vectors" / f"{path.stem}.json", {"special_tokens": tokens}, rows)
    rows = [{"template": s, **render(s, SNIPPET_VARIABLES)} for s in snippets()]
    write_rows(DATA / "snippets.json", {"variables": SNIPPET_VARIABLES}, rows)


if __name__ == "__main__":
    main()
