"""A data set is there, or one line says why not."""

import os

import pytest

from shared.settings import Settings
from standalone import datasets


@pytest.fixture
def settings(tmp_path):
    return Settings(home=tmp_path / "home", dataset_timeout_s=2)


def test_a_data_set_that_is_there_is_to_be_had(settings):
    assert datasets.fetch("digits", settings) is None


@pytest.mark.skipif(not os.environ.get("FITQ_DATASETS"), reason="FITQ_DATASETS names no folder with Fashion-MNIST")
def test_the_demos_data_set_is_taken_from_the_folder(settings):
    found = settings.model_copy(update={"datasets": os.environ["FITQ_DATASETS"]})
    assert datasets.fetch("fashion_mnist", found) is None


def test_a_data_set_that_is_not_there_has_a_reason(settings, tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    reason = datasets.fetch("mnist", settings)
    assert "mnist" in reason
    assert "\n" not in reason
