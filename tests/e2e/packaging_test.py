"""packaging/: the unit, the Dockerfile, compose.yaml and what it mounts fit the program and each other. That the unit starts under a
real systemd and the image in a real container is shown by tools/try-unit and tools/try-image, which want root."""

import json
import re
import shutil
import subprocess

import pytest
import yaml

from conftest import PROGRAM, TESTS, TINY, Hadal
from local_server import LocalServer

PACKAGING = TESTS.parent / "packaging"
DOCKER = PACKAGING / "docker"
UNIT = PACKAGING / "systemd/hadal.service"
DOCKERFILE = (DOCKER / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def services():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]


def mounts(service):
    """{the path inside: the path in the tree}, of what compose.yaml mounts from the tree. A container engine makes a folder of
    what is not there, so all must be."""
    found = (volume.split(":") for volume in service["volumes"])
    mounted = {inside: (DOCKER / outside).resolve() for outside, inside, *_ in found if outside.startswith(".")}
    assert all(path.exists() for path in mounted.values())
    return mounted


def need(program, package):
    if not shutil.which(program):
        pytest.skip(f"{program} is not there (Debian package {package})")


def test_the_dockerfile_installs_what_the_build_needs():
    packages = re.search(r"build_packages=\((.*?)\)", (TESTS.parent / "scripts/common.sh").read_text(), re.DOTALL).group(1)
    for package in packages.split():
        assert re.search(rf"(?<!\S){re.escape(package)}(?!\S)", DOCKERFILE), package


def test_compose_starts_the_program_as_it_can_be_started(services, tmp_path):
    hadal = Hadal(tmp_path / "home")
    command = services["hadal"]["command"]
    entry, default = (json.loads(re.search(rf"^{word} (\[.*\])$", DOCKERFILE, re.MULTILINE).group(1)) for word in ("ENTRYPOINT", "CMD"))
    assert entry == ["hadal"] and command[0] == default[0] == "serve"
    hadal.fails(*default, TINY, "--port", "0", says="key")  # open to others, it wants a key
    key = hadal("key", "add", "prometheus").stdout.decode().strip()
    with LocalServer(hadal, TINY, *command[1:]) as server:
        assert "of 0.0.0.0 is bound" in server.notes()
        for host, status in (("hadal:8080", 200), ("another:8080", 403)):
            assert server.ask("GET", "/v1/models", None, {"Host": host, "Authorization": f"Bearer {key}"})[0] == status, host


def test_compose_mounts_what_its_services_look_for(services):
    build = services["hadal"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve() == DOCKER / "Dockerfile"
    left_out = tuple(f"{path}/" for path in (DOCKER / build["context"] / ".dockerignore").read_text().split())
    installed = re.findall(r"(?<=[ (])\w[\w.-]*/[\w./-]+", (TESTS.parent / "cmake/packaging.cmake").read_text())
    installed = [path for path in installed if (TESTS.parent / path).is_file()]
    assert "packaging/systemd/hadal.service" in installed and not any(path.startswith(left_out) for path in installed)
    home = re.search(r"HADAL_HOME=(\S+)", DOCKERFILE).group(1)
    assert f"hadal:{home}" in services["hadal"]["volumes"]

    mounted = mounts(services["prometheus"])
    [config] = yaml.safe_load(mounted["/etc/prometheus/prometheus.yml"].read_text())["scrape_configs"]
    [secret] = services["prometheus"]["secrets"]
    assert config["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
    name, port = config["static_configs"][0]["targets"][0].split(":")
    assert name in services and f"EXPOSE {port}" in DOCKERFILE
    assert config["job_name"] == yaml.safe_load((PACKAGING / "prometheus/prometheus.yml").read_text())["scrape_configs"][0]["job_name"]

    mounted = mounts(services["grafana"])
    provisioning = mounted["/etc/grafana/provisioning"]
    [provider] = yaml.safe_load((provisioning / "dashboards/hadal.yml").read_text())["providers"]
    assert mounted[provider["options"]["path"] + "/hadal.json"] == PACKAGING / "grafana/hadal.json"
    [source] = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
    assert source["type"] == "prometheus" and source["url"] == "http://prometheus:9090" and "prometheus" in services


@pytest.mark.parametrize("path", [PACKAGING / "prometheus/prometheus.yml", DOCKER / "prometheus.yml"], ids=["machine", "compose"])
def test_promtool_reads_the_configuration(path, tmp_path):
    need("promtool", "prometheus")
    (tmp_path / "hadal.key").write_text("key\n")
    config = re.sub(r"(credentials_file:) \S+", rf"\1 {tmp_path}/hadal.key", path.read_text().replace("# ", ""))
    config = config[config.index("global:"):]
    assert "authorization:" in config
    (tmp_path / "prometheus.yml").write_text(config)
    done = subprocess.run(["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()


def test_systemd_reads_the_unit_and_finds_it_closed(tmp_path):
    need("systemd-analyze", "systemd")
    assert "ExecStart=/usr/bin/hadal serve\n" in UNIT.read_text()
    unit = tmp_path / "hadal.service"
    unit.write_text(UNIT.read_text().replace("/usr/bin/hadal", PROGRAM))
    done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, timeout=60)
    assert done.returncode == 0 and not done.stderr, done.stderr.decode()
    # 15: an exposure of 1.5 of 10. What is left is the network, which a server is for.
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--threshold=15", unit], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stdout.decode()
