"""The production stack's files agree with the tree, and with each other. docker/check.sh runs what they say."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

from shared.settings import Settings

TREE = Path(__file__).resolve().parents[2]
TEXT = (TREE / "docker-compose.yml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
#: The services that run our code.
OURS = [name for name, service in SERVICES.items() if "build" in service]
#: The services that stay.
LASTING = [name for name, service in SERVICES.items() if service["restart"] != "no"]

DOCKERFILE = (TREE / "docker/Dockerfile").read_text().replace("\\\n", " ")
_BLOCKS = re.split(r"^FROM \S+ AS ", DOCKERFILE, flags=re.MULTILINE)[1:]
#: The lines of each stage of the Dockerfile.
STAGES = {block.splitlines()[0]: block.splitlines()[1:] for block in _BLOCKS}
#: A package and its version in a lock file.
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)
IGNORED = (TREE / ".dockerignore").read_text().splitlines()


def instructions(stage, word):
    return [line.removeprefix(f"{word} ") for line in STAGES[stage] if line.startswith(f"{word} ")]


def names(lines):
    return {one.partition("=")[0] for line in lines for one in line.split()}


def seconds(duration):
    assert duration.endswith("s")
    return float(duration.removesuffix("s"))


def test_the_services_are_those_of_a_whole_stack():
    assert set(SERVICES) == {"postgres", "redis", "migrate", "api", "control", "worker", "worker-gpu"}
    assert "version" not in COMPOSE, "compose calls it obsolete"
    assert SERVICES["worker-gpu"]["profiles"] == ["gpu"]
    assert [name for name in SERVICES if "profiles" in SERVICES[name]] == ["worker-gpu"]


@pytest.mark.parametrize("name", OURS)
def test_a_command_is_a_module_of_the_tree(name):
    python, dash_m, module = SERVICES[name]["command"]
    path = TREE / module.replace(".", "/")

    assert (python, dash_m) == ("python", "-m")
    assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
    copied = " ".join(instructions("tree", "COPY")).split()
    assert module.partition(".")[0] in copied


@pytest.mark.parametrize("name", OURS)
def test_every_variable_is_a_setting(name):
    variables = {*SERVICES[name]["environment"], *names(instructions(SERVICES[name]["build"]["target"], "ENV"))}
    variables |= names(instructions("base", "ENV"))

    ours = {one.removeprefix("FITQ_").lower() for one in variables if one.startswith("FITQ_")}
    assert "database_url" in ours
    assert ours <= set(Settings.model_fields)


def test_what_a_person_may_set_is_in_the_example_and_the_password_must_be_set():
    asked = set(re.findall(r"\$\{(\w+)", TEXT))
    lines = [line for line in (TREE / ".env.example").read_text().splitlines() if line and not line.startswith("#")]
    example = dict(line.split("=", 1) for line in lines)

    assert asked == set(example)
    assert example["POSTGRES_PASSWORD"] == "", "an example's password ends up in production"
    assert all(after.startswith(":?") for after in re.findall(r"\$\{POSTGRES_PASSWORD(..)", TEXT))
    defaults = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", TEXT))
    assert defaults == {name: value for name, value in example.items() if name != "POSTGRES_PASSWORD"}


@pytest.mark.parametrize("name", LASTING)
def test_a_service_that_stays_is_asked_how_it_is_and_started_again(name):
    service = SERVICES[name]
    kind, program, *arguments = service["healthcheck"]["test"]

    assert kind == "CMD"
    assert {"interval", "timeout", "retries", "start_period"} <= set(service["healthcheck"])
    assert service["restart"] == "unless-stopped"
    if program == "python" and arguments[0] == "-m":
        assert (TREE / f"{arguments[1].replace('.', '/')}.py").is_file()
    elif program == "python":
        compile(arguments[1], name, "exec")
        assert "/healthz" in arguments[1]


def test_everything_waits_for_the_schema():
    for name in {*OURS} - {"migrate"}:
        assert SERVICES[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert SERVICES["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
    assert SERVICES["migrate"]["restart"] == "no"


@pytest.mark.parametrize("name", ["worker", "worker-gpu"])
def test_workers_scale_drain_and_share_the_volume(name):
    service = SERVICES[name]

    assert not {"container_name", "ports", "hostname"} & set(service)
    assert seconds(service["stop_grace_period"]) >= float(service["environment"]["FITQ_DRAIN_S"]) + 10
    assert "volume:/volume" in service["volumes"]
    assert "FITQ_VOLUME=/volume" in " ".join(instructions("base", "ENV")).split()
    assert service["init"] is True


def test_the_api_alone_has_a_port_and_it_is_this_machines():
    assert [name for name in SERVICES if "ports" in SERVICES[name]] == ["api"]
    [port] = SERVICES["api"]["ports"]
    assert port.startswith("${API_ADDRESS:-127.0.0.1}:")
    assert port.endswith(f":{SERVICES['api']['environment']['FITQ_PORT']}")
    assert not [name for name in SERVICES if "container_name" in SERVICES[name]]


def test_what_holds_state_is_out_of_the_internets_reach():
    assert COMPOSE["networks"]["inside"]["internal"] is True
    for name in ("postgres", "redis", "migrate", "control"):
        assert SERVICES[name]["networks"] == ["inside"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nobody_is_root_and_nobody_may_become_it(name):
    service = SERVICES[name]
    user = service["user"] if "user" in service else instructions(service["build"]["target"], "USER")[-1]

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user), "numbers: Kubernetes' runAsNonRoot cannot read names"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_one_user_writes_to_the_volume():
    assert len({user for name in OURS for user in instructions(SERVICES[name]["build"]["target"], "USER")}) == 1


def test_images_are_pinned():
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    for name, service in SERVICES.items():
        image, _, tag = service["image"].partition(":")
        if name in OURS:
            assert tag == project["version"], image
        else:
            assert re.match(r"\d+\.\d+", tag), image
    [python] = set(re.findall(r"^FROM (\S+:\S+)", DOCKERFILE, flags=re.MULTILINE))
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", python)


def test_the_builder_finds_what_it_copies_and_nothing_else():
    copies = [line.split() for stage in STAGES for line in instructions(stage, "COPY") if "--from" not in line]
    sources = {source for *sources, _ in copies for source in sources}

    for source in sources:
        assert (TREE / source).exists(), source
    assert IGNORED[1] == "*"
    assert {line.removeprefix("!") for line in IGNORED if line.startswith("!")} == sources


@pytest.mark.parametrize("name", OURS)
def test_an_image_installs_a_lock_file_that_is_there(name):
    target = SERVICES[name]["build"]["target"]
    packages = f"{target}-packages"

    assert f"--from={packages} /venv /venv" in instructions(target, "COPY")
    assert f"/build/install.sh /venv /build/{target}.txt" in instructions(packages, "RUN")


@pytest.mark.parametrize(
    ("lock", "wanted"), [("api", None), ("worker", "tensorflow-cpu"), ("worker-gpu", "tensorflow")]
)
def test_an_image_has_the_tensorflow_that_it_needs(lock, wanted):
    text = (TREE / f"requirements/{lock}.txt").read_text()
    pins = {name for name, _ in PIN.findall(text)}

    found = {one for one in pins if one.startswith("tensorflow")}
    assert found <= {"tensorflow", "tensorflow-cpu"}
    assert (wanted in found) if wanted else not found
    assert ("keras" in pins) == bool(wanted)
    assert any(one.startswith("nvidia-") for one in pins) == (lock == "worker-gpu")
    assert not re.search(r"https?://|file:", text), "a lock file names no index"


@pytest.mark.parametrize("lock", ["api", "worker", "worker-gpu"])
def test_images_install_the_versions_that_are_tested(lock):
    tested = set(PIN.findall((TREE / "requirements/dev.txt").read_text()))
    pinned = set(PIN.findall((TREE / f"requirements/{lock}.txt").read_text()))
    known = {name for name, _ in tested}

    assert {pin for pin in pinned if pin[0] in known} <= tested
