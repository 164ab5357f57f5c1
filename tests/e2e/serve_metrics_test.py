"""`/metrics`: what is counted, that gauges come back to 0, and that a real Prometheus reads it and answers the dashboard's queries."""

import json
import math
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest

from conftest import TESTS, TINY, Hadal
from local_server import LocalServer

PACKAGING = TESTS.parent / "packaging"
LABELS = {"model_name": "stories260K"}


@pytest.fixture(scope="module")
def hadal(tmp_path_factory):
    return Hadal(tmp_path_factory.mktemp("metrics") / "home")


@pytest.fixture(scope="module")
def server(hadal):
    with LocalServer(hadal, TINY, "--context", "512", "--parallel", "2") as running:
        yield running


def scrape(server, headers=None):
    request = urllib.request.Request(server.address + "/metrics", headers=headers or {})
    with urllib.request.urlopen(request, timeout=30) as reply:
        assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return reply.read().decode()


def samples(text):
    """{(name, labels as a sorted tuple): value}; every line must be one."""
    found = {}
    for line in text.splitlines():
        if line.startswith("#"):
            assert re.fullmatch(r"# (HELP|TYPE) [a-z_:0-9]+ .+", line), line
            continue
        name, labels, value = re.fullmatch(r"([a-z_:0-9]+)(?:\{(.*)\})? (\S+)", line).groups()
        pairs = tuple(sorted(re.findall(r'([a-z_]+)="([^"]*)"', labels or "")))
        assert (name, pairs) not in found, line
        found[name, pairs] = float(value)
    return found


class Figures:
    def __init__(self, server):
        self.all = samples(scrape(server))

    def __call__(self, name, **labels):
        prefix = "" if name.startswith("process_") else "hadal:"
        wanted = labels if name.startswith("process_") else {**LABELS, **labels}
        return self.all[prefix + name, tuple(sorted(wanted.items()))]


def complete(server, **fields):
    return server.ask("POST", "/v1/completions", {"prompt": "Once upon a time there was", "temperature": 0, "max_tokens": 20, **fields})


def test_counters_count(server):
    complete(server)  # so that every series is there
    before = Figures(server)
    status, _, body = complete(server)
    assert status == 200
    after = Figures(server)

    def grown(name, **labels):
        return after(name, **labels) - before(name, **labels)

    usage = body["usage"]
    assert grown("prompt_tokens_total") == usage["prompt_tokens"] == grown("prefix_cache_queries_total")
    assert grown("prefix_cache_hits_total") == usage["prompt_tokens_details"]["cached_tokens"]
    assert grown("generation_tokens_total") == usage["completion_tokens"] == 20
    assert grown("request_success_total", finished_reason="length") == 1
    assert grown("request_success_total", finished_reason="stop") == 0
    for name in ("time_to_first_token_seconds", "e2e_request_latency_seconds", "request_queue_time_seconds",
                 "request_prefill_time_seconds", "request_decode_time_seconds", "request_prompt_tokens", "request_generation_tokens"):
        assert grown(f"{name}_count") == 1, name
        assert after(f"{name}_bucket", le="+Inf") == after(f"{name}_count")
    assert grown("request_generation_tokens_sum") == 20
    assert 10 <= grown("inter_token_latency_seconds_count") <= 19
    assert 0 < grown("time_to_first_token_seconds_sum") <= grown("e2e_request_latency_seconds_sum") < 60
    assert grown("steps_total") >= 20 and grown("step_sequences_total") >= 20
    assert after("model_loaded") == 1 and after("model_weight_bytes") > 100_000
    assert after("process_resident_memory_bytes") > 1_000_000 and after("process_open_fds") > 3
    assert abs(after("process_start_time_seconds") - time.time()) < 600


def test_buckets_only_grow(server):
    complete(server)
    buckets = {}
    for (name, labels), value in samples(scrape(server)).items():
        if name.endswith("_bucket"):
            bound = float(dict(labels)["le"].replace("+Inf", "inf"))
            buckets.setdefault((name, tuple(pair for pair in labels if pair[0] != "le")), []).append((bound, value))
    assert len(buckets) == 8
    for series in buckets.values():
        counts = [count for _, count in sorted(series)]
        assert counts == sorted(counts) and series == sorted(series)


def test_gauges_come_back_to_nothing(server):
    body = json.dumps({"prompt": "Once", "max_tokens": 450, "stream": True, "temperature": 1, "seed": 4, "stop": []}).encode()
    aborted = Figures(server)("request_success_total", finished_reason="abort")
    connections = []
    for _ in range(6):
        connection = server.connect()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        connections.append(connection)
    assert connections[0].recv(100)
    seen = Figures(server)
    for connection in connections:
        connection.close()
    until = time.monotonic() + 30
    while True:
        now = Figures(server)
        if now("num_requests_running") + now("num_requests_waiting") + now("kv_cache_usage_perc") == 0:
            break
        assert time.monotonic() < until
    assert 0 <= seen("kv_cache_usage_perc") <= 1
    assert now("request_success_total", finished_reason="abort") > aborted


def test_a_model_that_is_not_loaded_has_no_figures(hadal, tmp_path):
    other = tmp_path / "other.gguf"
    shutil.copy(TINY, other)
    with LocalServer(hadal, TINY, other, log=tmp_path / "two.log") as server:
        found = samples(scrape(server))
        assert found["hadal:model_loaded", (("model_name", "other"),)] == 0
        assert ("hadal:num_requests_running", (("model_name", "other"),)) not in found


def test_promtool_reads_it(server):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not there (Debian package prometheus)")
    complete(server)
    done = subprocess.run(["promtool", "check", "metrics"], input=scrape(server).encode(), capture_output=True, timeout=60)
    # 3: it reads all, and has opinions. Ours are vLLM's names: a colon after the prefix, two counters without _total.
    assert done.returncode in (0, 3), done.stderr.decode()
    for line in (done.stderr + done.stdout).decode().splitlines():
        assert "should not contain ':'" in line or re.match(r"hadal:prefix_cache_(hits|queries) counter", line), line


class Prometheus:
    def __init__(self, folder, target, key):
        config = (PACKAGING / "prometheus/prometheus.yml").read_text().replace("127.0.0.1:8080", target).replace("interval: 5s", "interval: 1s")
        (folder / "hadal.key").write_text(key + "\n")
        config = config.replace("# authorization:", "authorization:")
        config = re.sub(r"#   credentials_file: .*", f"  credentials_file: {folder}/hadal.key", config)
        (folder / "prometheus.yml").write_text(config)
        self.log = open(folder / "prometheus.log", "wb")
        self.process = subprocess.Popen(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
                                         "--web.listen-address=127.0.0.1:0"], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        until = time.monotonic() + 60
        while not (found := re.search(r"address=(127\.0\.0\.1:[1-9]\d*)", (folder / "prometheus.log").read_text())):
            assert self.process.poll() is None and time.monotonic() < until, (folder / "prometheus.log").read_text()
            time.sleep(0.1)
        self.address = "http://" + found.group(1)

    def _get(self, path, **fields):
        try:
            with urllib.request.urlopen(f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(fields)}", timeout=30) as reply:
                return json.load(reply)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{fields}: {error.read().decode()}") from None

    def query(self, expression):
        return self._get("query", query=expression)["result"]

    def label_values(self, series, label):
        return self._get(f"label/{label}/values", **{"match[]": series})

    def end(self):
        self.process.terminate()
        self.process.wait(30)
        self.log.close()


DASHBOARD = json.loads((PACKAGING / "grafana/hadal.json").read_text())


def dashboard_queries(model=".*"):
    """(panel's title, query, the legend's labels) of every target, as Grafana asks for the model chosen; `.*`: for all."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$model", model), re.findall(r"{{(\w+)}}", target["legendFormat"])


def test_the_dashboards_panels_lie_beside_each_other():
    panels = DASHBOARD["panels"]
    taken = [(x, y) for panel in panels for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
             for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])]
    assert len(set(taken)) == len(taken) and max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        references = [target["refId"] for target in panel["targets"]]
        assert references and len(set(references)) == len(references), panel["title"]


def test_the_dashboard_asks_for_what_there_is(server):
    complete(server)
    names = {name for name, _ in samples(scrape(server))}
    machine = {"hadal:cpu_energy_joules_total", "hadal:cpu_temperature_celsius", "hadal:cpu_clock_hertz"}  # where readable
    for title, query, _ in dashboard_queries():
        for name in re.findall(r"(?:hadal:|process_)[a-z0-9_]+", query):
            assert name in names | machine, (title, name)


def test_a_real_prometheus_feeds_the_dashboard(tmp_path):
    if not shutil.which("prometheus"):
        pytest.skip("prometheus is not there (Debian package prometheus)")
    hadal = Hadal(tmp_path / "home")
    key = hadal("key", "add", "prometheus").stdout.decode().strip()
    with LocalServer(hadal, TINY, "--context", "512") as server:
        prometheus = Prometheus(tmp_path, server.address.removeprefix("http://"), key)
        try:
            until = time.monotonic() + 60
            optional = ("energy", "temperature", "clock")  # where this user may read them
            without = ["?"]
            while without:
                assert time.monotonic() < until, without
                status, _, _ = server.ask("POST", "/v1/completions", {"prompt": "Once", "max_tokens": 20, "n": 2},
                                          {"Authorization": f"Bearer {key}"})
                assert status == 200
                time.sleep(1)
                without = []
                for model in (".*", "stories260K"):
                    for title, query, labels in dashboard_queries(model):
                        found = prometheus.query(query)
                        assert all(label in one["metric"] for one in found for label in labels), (title, query, labels, found)
                        if not found and not any(word in query for word in optional):
                            without.append((title, query))
                        without += [(title, query) for one in found if not math.isfinite(float(one["value"][1]))]
            assert not any(prometheus.query(query) for title, query, _ in dashboard_queries("another") if "another" in query)
            for variable in DASHBOARD["templating"]["list"]:
                if variable["type"] == "query":
                    series, label = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"]).groups()
                    assert prometheus.label_values(series, label) == ["stories260K"]
            assert prometheus.query('up{job="hadal"}')[0]["value"][1] == "1"
            speed = prometheus.query("rate(hadal:generation_tokens_total[30s])")
            assert float(speed[0]["value"][1]) > 0
        finally:
            prometheus.end()
