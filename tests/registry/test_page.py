"""The page of the report with the runs, in a real local store and on a real server."""

from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from registry.servers import serving

from espalier import files
from espalier.registry import register
from espalier.registry.connection.store import find_store


def write_page(project, text):
    path = project.root / "reports" / "index.html"
    path.write_text(text)
    files.seal(path.parent, nested=True)
    return path


def pages(project, done, folder):
    """The page of each run of a registration."""
    uri = find_store(project.root).uri
    found = []
    for one in done:
        listed = [file.path for file in MlflowClient(uri).list_artifacts(one.run_id, "report")]
        for path in listed:
            place = f"runs:/{one.run_id}/{path}"
            fetched = mlflow.artifacts.download_artifacts(
                place, dst_path=str(folder), tracking_uri=uri
            )
            found.append((path, Path(fetched).read_text()))
    return found


@pytest.fixture(params=["local", "server"])
def store(request, project, tmp_path, monkeypatch):
    monkeypatch.chdir(project.root)  # paths in a local store are relative to the project
    if request.param == "local":
        yield
    else:
        folder = tmp_path / "server"
        folder.mkdir()
        with serving(folder) as address:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            yield


@pytest.mark.usefixtures("store")
def test_every_run_has_the_page_and_only_a_new_one_is_logged_again(project, tmp_path, monkeypatch):
    assert pages(project, register(project.root, project.params), tmp_path) == []
    page = write_page(project, "<p>first")
    done = register(project.root, project.params)
    assert pages(project, done, tmp_path) == [("report/index.html", "<p>first")] * 3
    client = MlflowClient(find_store(project.root).uri)
    assert {client.get_run(one.run_id).data.tags["espalier.report"] for one in done} == {
        files.sha256(page)
    }
    with monkeypatch.context() as patch:
        for call in ("log_artifact", "set_tag"):
            patch.delattr(MlflowClient, call)
        register(project.root, project.params)
    write_page(project, "<p>second")
    done = register(project.root, project.params)
    assert pages(project, done, tmp_path) == [("report/index.html", "<p>second")] * 3
    page.unlink()
    files.seal(page.parent, nested=True)
    register(project.root, project.params)


def test_a_page_whose_logging_was_killed_is_logged_by_the_next_registration(
    project, tmp_path, monkeypatch
):
    write_page(project, "<p>page")

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_artifact", killed)
        with pytest.raises(KeyboardInterrupt):
            register(project.root, project.params)
    monkeypatch.chdir(project.root)
    done = register(project.root, project.params)
    assert pages(project, done, tmp_path) == [("report/index.html", "<p>page")] * 3
