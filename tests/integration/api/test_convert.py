"""POST /v1/models:convert and `fitq convert`: an architecture of any Keras becomes one of Keras 3."""

import json
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from fitq.cli import cli
from shared import architecture

OLD: dict[str, Any] = {
    "class_name": "Sequential",
    "config": [{"class_name": "Dense", "config": {"output_dim": 4, "batch_input_shape": [None, 8], "name": "d"}}],
    "keras_version": "1.2.2",
}
on_sqlite = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@on_sqlite
def test_an_architecture_in_any_form_is_converted(client: FlaskClient) -> None:
    for given in (OLD, json.dumps(OLD), yaml.dump(OLD)):
        answer = client.post("/v1/models:convert", json={"architecture": given})
        assert answer.status_code == 200
        assert answer.json["architecture"] == architecture.checked(OLD)
        assert any("output_dim" in change for change in answer.json["changes"])


@on_sqlite
def test_what_cannot_be_is_named_with_its_place(client: FlaskClient) -> None:
    bad = {**OLD, "config": [*OLD["config"], {"class_name": "Lambda", "config": {"name": "l"}}, {"class_name": "Mine"}]}
    answer = client.post("/v1/models:convert", json={"architecture": bad})
    assert (answer.status_code, answer.json["code"]) == (422, "bad_spec")
    assert [error["pointer"] for error in answer.json["errors"]] == ["/architecture/config/1", "/architecture/config/2"]
    assert client.post("/v1/models:convert", json={"architecture": 1}).status_code == 422
    assert client.post("/v1/models:convert", json={"architecture": OLD, "odd": 1}).status_code == 422


@on_sqlite
def test_the_command_writes_json_and_yaml_and_says_what_changed(app: Flask, tmp_path: Path) -> None:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    old, bad, new = tmp_path / "old.yaml", tmp_path / "bad.json", tmp_path / "new.yaml"
    old.write_text(yaml.dump(OLD))
    bad.write_text('{"class_name": "Sequential", "config": [{"class_name": "Lambda", "config": {"name": "l"}}]}')
    try:
        url = ["--url", f"http://127.0.0.1:{server.port}", "convert"]
        shown = CliRunner().invoke(cli, [*url, str(old)])
        assert json.loads(shown.stdout) == architecture.checked(OLD)
        assert "changed: " in shown.stderr
        assert CliRunner().invoke(cli, [*url, str(old), "-o", str(new)]).exit_code == 0
        assert architecture.checked(new.read_text()) == architecture.checked(OLD)
        refused = CliRunner().invoke(cli, [*url, str(bad)])
        assert refused.exit_code == 1
        (line,) = refused.stderr.splitlines()
        assert line.startswith("Error: /architecture/config/0: Layer 'l'")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
