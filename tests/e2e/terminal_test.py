"""A person at a real terminal (tmux): chat, interrupt, several lines, Chinese, arrow keys, resize."""

import json
import re
import shlex
import subprocess
import time
import uuid

import pytest

from conftest import PROGRAM, TINY, Hadal, real_model

# Hands the tiny model the conversation's words as one story to go on with.
TEMPLATE = "{% for message in messages %}{{ message['content'] }}{% endfor %}"


class Screen:
    """hadal in a tmux window of its own."""

    def __init__(self, home, *arguments, columns=80, rows=24):
        self.socket = f"hadal-{uuid.uuid4().hex[:8]}"
        hadal = Hadal(home)
        command = " ".join(shlex.quote(str(word)) for word in [PROGRAM, *arguments])
        self.tmux("-f", "/dev/null", "new-session", "-d", "-x", columns, "-y", rows, "-e", f"HADAL_HOME={home}", "-e",
                  "LC_ALL=C.UTF-8", f"{command}; echo left with $?; sleep 60", environment=hadal.environment)

    def tmux(self, *arguments, environment=None):
        done = subprocess.run(["tmux", "-u", "-L", self.socket, *map(str, arguments)], capture_output=True, text=True,
                              env=environment, timeout=10)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def text(self):
        return self.tmux("capture-pane", "-p", "-S", "-200")

    def type(self, text, enter=True):
        self.tmux("send-keys", "-l", text)
        if enter:
            self.press("Enter")

    def press(self, *keys):
        self.tmux("send-keys", *keys)

    def wait(self, pattern, seconds=30):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            text = self.text()
            if re.search(pattern, text, re.MULTILINE):
                return text
            time.sleep(0.05)
        raise AssertionError(f"{pattern!r} did not appear:\n{self.text()}")

    def prompts(self, count, seconds=60):
        """Waits until the prompt stands there for the count-th time, empty."""
        return self.wait(r"(?s)(>>> .*){%d}^>>> ?\s*\Z" % (count - 1), seconds) if count > 1 else self.wait(r"^>>>", seconds)

    def close(self):
        subprocess.run(["tmux", "-L", self.socket, "kill-server"], capture_output=True)


@pytest.fixture
def screen(tmp_path):
    opened = []

    def open_screen(*arguments, **options):
        opened.append(Screen(tmp_path / "home", *arguments, **options))
        return opened[-1]
    yield open_screen
    for one in opened:
        one.close()


@pytest.fixture
def tiny_chat(tmp_path, screen):
    template = tmp_path / "template.jinja"
    template.write_text(TEMPLATE)

    def start(**options):
        chat = screen("run", TINY, "--chat-template", template, "--temperature", "0", "--max-tokens", "30", **options)
        chat.wait(r"^>>>")
        return chat
    return start


def saved(tmp_path, name):
    return json.loads((tmp_path / "home/chats" / f"{name}.json").read_text())["messages"]


def test_chat_commands_and_several_lines(tiny_chat, tmp_path):
    chat = tiny_chat()
    chat.type("Once upon a time")
    chat.wait("little girl named")
    chat.type("/?")
    chat.wait("/regen")
    chat.type('"""')
    chat.wait(r"^\.\.\.")
    chat.type("first line")
    chat.type('second line"""')
    chat.prompts(4)
    chat.type("/set temperature 0.5")
    chat.wait("temperature = 0.5")
    chat.type("/set temperature hot")
    chat.wait("not 'hot'")
    chat.type("/set colour blue")
    chat.wait("no setting 'colour'")
    chat.type("/frobnicate")
    chat.wait("is no command")
    chat.type("/save two turns")
    chat.wait("saved as")
    messages = saved(tmp_path, "two turns")
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2
    assert messages[2]["content"] == "first line\nsecond line"
    chat.type("/clear")
    chat.wait("forgotten")
    chat.type("/regen")
    chat.wait("nothing to answer")
    chat.type("/load two turns")
    chat.wait("4 messages loaded")
    chat.type("/load missing")
    chat.wait("cannot read")
    chat.type("/regen")
    chat.prompts(13)
    chat.type("/show")
    chat.wait("messages 4")
    chat.type("/bye")
    chat.wait("left with 0")


def test_chinese_is_typed_edited_and_kept(tiny_chat, tmp_path):
    chat = tiny_chat()
    chat.type("你好世界", enter=False)
    chat.press("Left", "Left")
    chat.type("，", enter=False)
    chat.wait("你好，世界")
    chat.press("Enter")
    chat.prompts(2)
    chat.press("Up")  # history
    chat.wait("(?s)你好，世界.*你好，世界")
    chat.press("BSpace")
    chat.type("人")
    chat.prompts(3)
    chat.type("/save 中文")
    chat.wait("saved as")
    assert [m["content"] for m in saved(tmp_path, "中文") if m["role"] == "user"] == ["你好，世界", "你好，世人"]


def test_leaving(tiny_chat):
    chat = tiny_chat()
    chat.type("half a thought", enter=False)
    chat.press("C-c")
    chat.wait("/bye or Ctrl-D")
    chat.press("C-d")
    chat.wait("left with 0")


def test_words_stay_whole_in_a_narrow_window(tiny_chat):
    chat = tiny_chat(columns=30)
    chat.type("Once upon a time")
    text = chat.prompts(2)
    answer = text[text.index("Once upon a time") + len("Once upon a time"):text.index("hadal: warning")]
    words = set(", there was a little girl named Lily. She loved to play outside in the park. One day, she saw a big, red ball.".split())
    shown = [word for line in answer.splitlines() for word in line.split() if word != ">>>"]
    assert len(shown) > 10 and all(word in words or word == shown[-1] for word in shown), shown
    chat.tmux("resize-window", "-x", 100, "-y", 24)
    chat.type("Once upon a time")
    chat.prompts(3)


def test_interrupt_stops_the_answer_and_keeps_the_chat(screen, tmp_path):
    chat = screen("run", real_model("smollm2-135m-instruct"), "--temperature", "0")
    chat.wait(r"^>>>")
    chat.type("Write a very long story about a dragon.")
    chat.wait(r"(?s)dragon\.\n.*\w+ \w+")
    chat.press("C-c")
    chat.wait(r"\(stopped\)")
    chat.type("What is the capital of France?")
    chat.wait("Paris")
    chat.type("/save both")
    chat.wait("saved as")
    assert [m["role"] for m in saved(tmp_path, "both")] == ["user", "assistant"] * 2
    chat.type("/bye")
    chat.wait("left with 0")


def test_interrupt_while_a_long_prompt_is_read(screen, tmp_path):
    chat = screen("run", real_model("smollm2-135m-instruct"), "--temperature", "0")
    chat.wait(r"^>>>")
    lines = "\n".join(f"The quick brown fox number {i} jumps over the lazy dog." for i in range(400))
    message = tmp_path / "message"
    message.write_text(f'"""{lines}"""\n')
    chat.tmux("load-buffer", message)
    chat.tmux("paste-buffer")
    chat.wait(r'^\.\.\. .*399 jumps over the lazy dog\."""')
    time.sleep(0.2)
    chat.press("C-c")
    chat.wait(r"\(stopped\)", 15)
    chat.type("What is the capital of France?")
    chat.wait("Paris")
    chat.type("/save after")
    chat.wait("saved as")
    assert [m["role"] for m in saved(tmp_path, "after")][-2:] == ["user", "assistant"]
    assert (tmp_path / "home/chats/after.json").stat().st_mode & 0o077 == 0
