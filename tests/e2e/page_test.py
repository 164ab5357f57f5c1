"""The web page in a real Chromium, served by the real program with a real model."""

import http.client
import http.server
import json
import os
import re
import shutil
import threading
import time
import urllib.parse
import urllib.request

import pytest

from conftest import Hadal, real_model
from local_server import LocalServer

webdriver = pytest.importorskip("selenium.webdriver", reason="python3-selenium is not there")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
if not CHROMIUM or not DRIVER:
    pytest.skip("chromium and chromium-driver are not there", allow_module_level=True)

WAIT_SECONDS = 60


def wait_until(condition, what):
    deadline = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"waited {WAIT_SECONDS} s in vain: {what}")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The address of a server with a real model."""
    model = real_model("smollm2-135m-instruct")
    with LocalServer(Hadal(tmp_path_factory.mktemp("page") / "home"), model, "--context", "2048") as standing:
        yield standing.address


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=1200,900"):
        options.add_argument(argument)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(service=Service(DRIVER), options=options)
    yield driver
    driver.quit()


class Page:
    """One visit by somebody who was never here before."""

    def __init__(self, driver, address):
        self.driver, self.address = driver, address
        self.refusals_expected = ()
        driver.get("about:blank")
        driver.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": address, "storageTypes": "all"})
        for log in ("browser", "performance"):
            driver.get_log(log)
        self.as_visitor()

    def as_visitor(self, language="en-US", width=1200, height=900, look="light"):
        cdp = self.driver.execute_cdp_cmd
        agent = self.driver.execute_script("return navigator.userAgent")
        cdp("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language})
        cdp("Emulation.setDeviceMetricsOverride", {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500})
        cdp("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": look}]})

    def open(self, path="/"):
        self.driver.get(self.address + path)
        wait_until(lambda: self.driver.execute_script("return document.getElementById('ask')?.placeholder"), "the page")
        return self

    def models_are_there(self):
        wait_until(lambda: self.find("#model option"), "the models")
        return self

    def find(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def shown(self, selector):
        return [element for element in self.find(selector) if element.is_displayed()]

    def script(self, text, *arguments):
        return self.driver.execute_script(text, *arguments)

    def text(self, selector):
        return self.script("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def type(self, text):
        self.one("#ask").send_keys(text)

    def ask(self, text):
        self.type(text + Keys.ENTER)
        wait_until(lambda: self.answering() or self.done(), "an answer's begin")

    def answering(self):
        return bool(self.shown("#stop"))

    def done(self):
        return bool(self.shown("#send")) and bool(self.find("article.answer[aria-busy=false]"))

    def ended(self):
        wait_until(lambda: self.done() and not self.answering(), "the answer's end")
        return self.text("article.answer:last-child > .prose")

    def settings(self, **choices):
        self.one("#open-settings").click()
        for name, value in choices.items():
            field = self.one(f"#settings [name={name}]")
            if field.tag_name == "select":
                Select(field).select_by_value(value)
            else:
                field.clear()
                field.send_keys(value)
        self.one("#settings .main").click()

    def plant(self, answer, thinking=""):
        """A conversation in which the model said this, as if it had been held here before."""
        planted = self.driver.execute_async_script("""
            const [answer, thinking, done] = arguments;
            const asked = indexedDB.open('hadal', 1);
            asked.onsuccess = () => {
              const change = asked.result.transaction('conversations', 'readwrite');
              change.objectStore('conversations').put({ id: 'planted', title: 'planted', changed: 1, messages: [
                { role: 'user', text: 'Go on.' },
                { role: 'assistant', text: answer, thinking, thoughtSeconds: 1, ended: 'stop' }] });
              change.oncomplete = () => { asked.result.close(); done(true); };
              change.onerror = () => done(false);
            };""", answer, thinking)
        assert planted
        self.driver.get("about:blank")
        self.open("/#planted")
        wait_until(lambda: self.find("article.answer"), "the planted conversation")

    def is_as_wide_as_its_window(self):
        return self.script("return document.documentElement.scrollWidth <= innerWidth && document.body.scrollWidth <= innerWidth"
                           " && document.querySelector('#scroller').scrollWidth <= document.querySelector('#scroller').clientWidth")

    def good_manners(self):
        """No word of a violated policy or an error in the browser's log; no request to anybody else."""
        for entry in self.driver.get_log("browser"):
            expected = any(part in entry["message"] for part in self.refusals_expected)
            assert expected or entry["level"] not in ("SEVERE", "WARNING"), entry
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] != "Network.requestWillBeSent":
                continue
            url = message["params"]["request"]["url"]
            assert url.startswith((self.address + "/", "about:", "data:image/svg")), url


@pytest.fixture
def page(chromium, server):
    visit = Page(chromium, server)
    yield visit
    visit.good_manners()


def test_an_answer_streams_and_is_kept(page):
    page.open().models_are_there()
    assert page.shown("#welcome")
    page.settings(temperature="0", max_tokens="60")
    page.ask("Tell me a long story about a whale.")
    seen = set()
    while not page.done():
        seen.add(page.text("article.answer:last-child > .prose"))
    text = page.ended()
    assert len(seen) > 3, "it came in one piece"
    assert len(text) > 60
    assert re.search(r"60 tokens · [\d.]+ tokens/s", page.text("article.answer .figures")), page.text("article.answer .figures")
    assert "limit" in page.text(".problem")
    assert re.fullmatch(r"[\d.]+\s+tokens/s", page.text("#meter-rate").strip()), page.text("#meter-rate")
    assert page.shown("#meter-first")
    wait_until(lambda: page.shown("#meter-kv") and page.shown("#meter-running") and page.shown("#meter-queue"), "the server's figures")
    with urllib.request.urlopen(page.address + "/api/hadal/status") as reply:
        model, = json.load(reply)["models"]
    assert model["loaded"] and model["answer_tokens"] >= 60 and model["kv_blocks_total"] > 0, model
    assert page.driver.title == "Tell me a long story about a whale. · hadal"

    page.driver.refresh()
    wait_until(lambda: len(page.find("article")) == 2, "the kept conversation")
    assert page.text("article.question .body") == "Tell me a long story about a whale."
    assert page.text("article.answer > .prose") == text


def test_stop_again_and_edit(page):
    page.open().models_are_there()
    page.settings(temperature="0", max_tokens="600")
    page.ask("Count from one to two hundred, a number a line.")
    wait_until(lambda: len(page.text("article.answer > .prose")) > 10, "a beginning")
    page.one("#stop").click()
    stopped = page.ended()
    assert page.text(".problem") == "Stopped"
    time.sleep(0.3)
    assert page.text("article.answer > .prose") == stopped

    page.one("article.answer [data-label=again]").click()
    wait_until(lambda: page.answering() and len(page.text("article.answer > .prose")) > 10, "another answer")
    assert len(page.find("article")) == 2
    page.type(Keys.ESCAPE)
    again = page.ended()
    assert again[:10] == stopped[:10]

    page.settings(max_tokens="5")
    page.one("article.question [data-label=edit]").click()
    field = page.one(".edit textarea")
    assert field.get_attribute("value") == "Count from one to two hundred, a number a line."
    field.clear()
    field.send_keys("Say yes." + Keys.ENTER)
    wait_until(lambda: page.text("article.question .body") == "Say yes.", "the edited question")
    page.ended()
    assert len(page.find("article")) == 2


def test_chinese(page):
    page.as_visitor(language="zh-CN")
    page.open().models_are_there()
    assert page.text("#new").strip() == "新对话"
    assert page.one("#ask").get_attribute("placeholder") == "输入您的问题"
    page.settings(max_tokens="8")

    # An input method composes: Enter picks the word and sends nothing.
    page.one("#ask").click()
    cdp = page.driver.execute_cdp_cmd
    cdp("Input.imeSetComposition", {"text": "你好", "selectionStart": 2, "selectionEnd": 2})
    for kind in ("rawKeyDown", "keyUp"):
        cdp("Input.dispatchKeyEvent", {"type": kind, "key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13})
    assert not page.find("article")
    cdp("Input.insertText", {"text": "你好，世界"})
    assert page.one("#ask").get_attribute("value") == "你好，世界"
    page.type(Keys.SHIFT + Keys.ENTER + Keys.NULL + "第二行")
    assert not page.find("article")
    page.type(Keys.ENTER)
    wait_until(lambda: page.find("article.answer"), "an answer")
    page.ended()
    assert page.text("article.question .body") == "你好，世界\n第二行"
    assert "个词元" in page.text(".figures")


def test_conversations(page):
    page.open().models_are_there()
    page.settings(max_tokens="4")
    for text in ("The first.", "The second."):
        page.one("#new").click()
        page.ask(text)
        page.ended()
    titles = [element.text for element in page.find("#conversations .open")]
    assert titles == ["The second.", "The first."]
    page.find("#conversations .open")[1].click()
    wait_until(lambda: page.text("article.question .body") == "The first.", "the first conversation")
    page.ask("And more.")
    page.ended()
    assert len(page.find("article")) == 4

    row = page.find("#conversations li")[0]
    page.script("arguments[0].querySelector('.quiet').click()", row)
    wait_until(lambda: len(page.find("#conversations li")) == 1, "the deletion")
    page.one("#toast button").click()
    wait_until(lambda: len(page.find("#conversations li")) == 2, "its return")

    page.one("#open-settings").click()
    page.one("#delete-all").click()
    wait_until(lambda: not page.find("#conversations li"), "all deletions")
    page.driver.refresh()
    wait_until(lambda: page.shown("#welcome"), "an empty page")
    assert not page.find("#conversations li")


def test_settings_are_kept_and_sent(page):
    page.as_visitor(look="dark")
    page.open().models_are_there()
    ground = "return getComputedStyle(document.body).backgroundColor + getComputedStyle(document.documentElement).backgroundColor"
    dark = page.script(ground)
    page.settings(look="light", language="zh", temperature="0", seed="7", max_tokens="12", system="Answer in one word.")
    assert page.script(ground) != dark
    assert page.text("#open-settings").strip() == "设置"
    page.driver.refresh()
    page.models_are_there()
    assert page.script(ground) != dark
    assert page.text("#open-settings").strip() == "设置"
    page.driver.get_log("performance")
    page.ask("Name a colour.")
    page.ended()
    sent = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    bodies = [json.loads(message["params"]["request"]["postData"]) for message in sent
              if message["method"] == "Network.requestWillBeSent" and "postData" in message["params"]["request"]]
    assert len(bodies) == 1
    assert {name: bodies[0][name] for name in ("temperature", "seed", "max_tokens")} == {"temperature": 0, "seed": 7, "max_tokens": 12}
    assert "top_p" not in bodies[0]
    assert bodies[0]["messages"] == [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Name a colour."}]


HOSTILE = """<img src=x onerror="window.pwned=1"> <script>window.pwned=2</script> <svg onload="window.pwned=3"></svg>

<iframe src="https://elsewhere.example/"></iframe><style>body{display:none}</style><base href="https://elsewhere.example/">

[one](javascript:window.pwned=4) [two](JaVaScRiPt:window.pwned=5) [three](data:text/html,<script>window.pwned=6</script>)
[four](vbscript:x) [five](&#106;avascript:window.pwned=7) <javascript:window.pwned=8> [six]( \x01javascript:window.pwned=9)

![picture](https://elsewhere.example/leak.png?what=was+said) ![x](x"onerror="window.pwned=10)

$\\href{javascript:window.pwned=11}{x}$ $\\includegraphics{https://elsewhere.example/a.png}$ $\\htmlStyle{position:fixed}{x}$ \\(\\url{javascript:x}\\)

```html
<img src=x onerror="window.pwned=12"></span></code></pre><script>window.pwned=13</script>
```

```"><script>window.pwned=14</script>
x
```

| <img src=x onerror=window.pwned=15> | b |
|--|--|
| <a href="javascript:window.pwned=16">c</a> | d |

<sub><script>window.pwned=17</script></sub> H<sub>2</sub>O <form action="https://elsewhere.example"><input name=q></form>
""" + "> " * 3000 + "deep\n\n" + "$" + "{" * 3000 + "x" + "}" * 3000 + "$\n\n" + "- " * 500 + "item\n\n" + "*" * 5000 + "\n\n" + "[" * 5000


def test_hostile_answers_do_nothing(page):
    page.open()
    page.plant(HOSTILE, thinking=HOSTILE)
    page.one("summary").click()
    wait_until(lambda: len(page.find("details .block")) > 5, "the thoughts")
    for link in page.find("#log a"):
        assert re.match("https://elsewhere.example/", link.get_attribute("href")), link.get_attribute("href")
        assert link.get_attribute("rel") == "noopener noreferrer"
    time.sleep(0.5)
    assert page.script("return window.pwned") is None
    assert not page.find("#log :is(img, script, iframe, style, base, form:not(.edit), input, object, embed, link, meta)")
    assert not page.find("#log svg:not(.icon)")
    assert page.script("return [...document.querySelectorAll('#log *')].every((element) => "
                       "element.getAttributeNames().every((name) => !name.startsWith('on')))")
    assert "onerror=\"window.pwned=1\"" in page.text("article.answer > .prose"), "what was written is shown"
    assert page.is_as_wide_as_its_window()
    assert page.script("return getComputedStyle(document.body).display") == "grid"


def test_markdown_code_and_formulas(page):
    page.open()
    page.plant("# Title\n\nIt costs $5 or $6, and $x^2$ is a formula; so is \\(a_1\\).\n\n$$\\frac{a}{b}$$\n\n\\[\n\\int_0^1 x\\,dx\n\\]\n\n"
               "1. one\n2. two\n   - inner\n\n- [x] did\n\n| a | b |\n|:-:|--:|\n| 1 | 2 |\n\n```python\ndef f():\n    return 'x' # y\n```\n\n"
               "**bold** *it* ~~gone~~ `code` &amp; &lt;b&gt; H<sub>2</sub>O\n\n> quote\n\nhttps://example.org/a?b=1&c=2")
    wait_until(lambda: page.find(".hljs-keyword") and len(page.find(".katex")) == 4, "code and formulas")
    assert len(page.find(".katex-display")) == 2
    assert "It costs $5 or $6" in page.text("article.answer > .prose")
    assert "& <b> H2O" in page.text("article.answer > .prose")
    assert page.text(".code pre") == "def f():\n    return 'x' # y"
    assert page.find(".prose h1") and page.find(".prose ol ul li") and page.find(".prose blockquote") and page.find(".prose sub")
    assert "☑ did" in page.text("article.answer > .prose")
    assert page.script("return getComputedStyle(document.querySelector('td:last-child')).textAlign") == "end"
    assert page.one(".prose a").get_attribute("href") == "https://example.org/a?b=1&c=2"
    assert page.script("return document.fonts.check('16px KaTeX_Main')")
    page.one(".code button").click()
    wait_until(lambda: page.find(".code [data-label=copied]"), "the copy")


def test_a_phone(page):
    page.as_visitor(width=360, height=740)
    page.open().models_are_there()
    assert page.is_as_wide_as_its_window()
    page.plant("A" * 300 + "\n\n```\n" + "b" * 300 + "\n```\n\n$$" + "x+" * 80 + "y$$\n\n|" + "head|" * 20 + "\n|" + "-|" * 20 + "\n|" + "cell|" * 20)
    wait_until(lambda: page.find(".katex"), "the formula")
    assert page.is_as_wide_as_its_window()
    assert not page.shown("#side")
    page.one("#open-side").click()
    wait_until(lambda: page.shown("#conversations .open"), "the drawer")
    page.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    wait_until(lambda: not page.shown("#side"), "the drawer's end")
    page.one("#open-side").click()
    wait_until(lambda: page.shown("#open-settings"), "the drawer")
    page.one("#open-settings").click()
    assert page.is_as_wide_as_its_window()


def test_everything_has_a_name(page):
    page.open().models_are_there()
    page.plant("```c\nint x;\n```", thinking="Hm.")
    page.one("#open-settings").click()
    for _ in range(2):
        nodes = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
        found = [node for node in nodes if not node.get("ignored") and node.get("role", {}).get("value") in
                 ("button", "textbox", "combobox", "spinbutton", "checkbox", "dialog", "log", "navigation", "link")]
        assert len(found) > 5
        for node in found:
            assert node.get("name", {}).get("value"), node
        page.one("#settings .main").click() if page.shown("#settings") else None
    # By the keyboard, the first thing on the page is the way past the list.
    first = page.find("a[href], button, input, select, textarea")[0]
    assert first.get_attribute("class") == "skip"
    page.script("arguments[0].focus()", first)
    assert page.shown(".skip")
    first.send_keys(Keys.ENTER)
    wait_until(lambda: page.script("return document.activeElement.id") == "ask", "the field")


class Front(http.server.BaseHTTPRequestHandler):
    """Stands before a server under a longer path, and may break off."""

    protocol_version = "HTTP/1.1"
    upstream = ""
    gone = False

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.gone:
            self.close_connection = True
            return
        path = self.path.removeprefix("/under/a/path")
        host = urllib.parse.urlsplit(self.upstream).netloc
        connection = http.client.HTTPConnection(host)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("host", "origin")}
        connection.request(self.command, path, body, {**headers, "Host": host})
        reply = connection.getresponse()
        kept = {name: value for name, value in reply.getheaders()
                if name.lower() not in ("transfer-encoding", "connection", "content-length", "keep-alive")}
        self.reply(reply.status, kept, reply.read())

    def reply(self, status, headers, body):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A server that wants a key, and one that `hadal key add` made."""
    hadal = Hadal(tmp_path_factory.mktemp("locked") / "home")
    key = hadal("key", "add", "page").stdout.decode().strip()
    with LocalServer(hadal, real_model("smollm2-135m-instruct"), "--context", "2048", wait=False) as standing:
        wait_until(lambda: standing.ask("GET", "/health")[0] == 200, "the model")
        yield standing.address, key


@pytest.fixture
def front(locked):
    upstream, key = locked
    standing = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("FrontHere", (Front,), {"upstream": upstream}))
    standing.key = key
    threading.Thread(target=standing.serve_forever, daemon=True).start()
    standing.address = f"http://127.0.0.1:{standing.server_address[1]}"
    yield standing
    standing.shutdown()


def test_a_key_is_asked_for(chromium, front):
    page = Page(chromium, front.address)
    page.refusals_expected = ("401",)
    page.open("/under/a/path/")
    wait_until(lambda: page.shown("#key-text"), "the question for a key")
    assert not page.shown("#key-wrong")
    page.one("#key-text").send_keys("wrong" + Keys.ENTER)
    wait_until(lambda: page.shown("#key-wrong"), "another question")
    page.one("#key-text").send_keys(Keys.ESCAPE)
    wait_until(lambda: page.shown("#trouble"), "a word of the missing key")
    page.type("Hello" + Keys.ENTER)
    wait_until(lambda: page.shown("#key-text"), "the question for a key")
    page.one("#key-text").send_keys(front.key + Keys.ENTER)
    page.models_are_there()
    page.settings(max_tokens="4")
    wait_until(lambda: page.find("article.answer"), "an answer")
    page.ended()
    page.driver.refresh()
    page.models_are_there()
    assert not page.shown("#key"), "this tab remembers it"
    assert page.script("return [sessionStorage['hadal.key'], localStorage['hadal.key'] ?? null]") == [front.key, None]

    page.one("#open-settings").click()
    page.one("#forget-key").click()
    page.driver.refresh()
    wait_until(lambda: page.shown("#key-text"), "the question for a key")
    page.one("#key-keep").click()
    page.one("#key-text").send_keys(front.key + Keys.ENTER)
    page.models_are_there()
    assert page.script("return [sessionStorage['hadal.key'] ?? null, localStorage['hadal.key']]") == [None, front.key]
    page.good_manners()


def test_a_server_that_goes_away(chromium, front):
    page = Page(chromium, front.address)
    page.open()
    wait_until(lambda: page.shown("#key-text"), "the question for a key")
    page.one("#key-text").send_keys(front.key + Keys.ENTER)
    page.models_are_there()
    front.RequestHandlerClass.gone = True
    page.ask("Are you there?")
    page.ended()
    assert "reached" in page.text(".problem")
    assert page.text("article.question .body") == "Are you there?"
    front.RequestHandlerClass.gone = False
    page.settings(max_tokens="4")
    page.one("[data-label=again]").click()
    wait_until(lambda: page.done() and len(page.text("article.answer > .prose")) > 0, "an answer after all")
