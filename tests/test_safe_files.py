import os
import signal
import socket
import subprocess
import sys

import pytest

from vjepa_wm.safe_files import FolderInUseError, FolderLock, remove_file, unfinished_name, write_bytes, write_json


def test_a_file_is_there_only_when_it_is_complete(tmp_path, monkeypatch):
    path = tmp_path / "new/folder/results.json"
    write_json(path, {"success": [1, 2]})
    assert path.read_text() == '{\n  "success": [\n    1,\n    2\n  ]\n}\n'

    def die(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"longer")
    assert path.read_text().startswith("{") and unfinished_name(path).read_bytes() == b"longer"
    remove_file(path)
    remove_file(path)
    assert not any(path.parent.iterdir())


def test_a_locked_folder_is_refused_by_name_of_who_has_it_until_it_is_released(tmp_path):
    holder = f"process {os.getpid()} on {socket.gethostname()}"
    with FolderLock(tmp_path / "runs", "meta/.lock") as lock:
        with pytest.raises(FolderInUseError, match=f"^{holder} is writing into .*runs just now; let it end, or choose"):
            FolderLock(tmp_path / "runs", "meta/.lock")
        FolderLock(tmp_path / "runs").release()
    lock.release()
    assert (tmp_path / "runs/meta/.lock").read_text() == ""
    FolderLock(tmp_path / "runs", "meta/.lock").release()


def test_the_lock_dies_with_its_process_and_is_then_its_successors(tmp_path):
    code = "import sys, pathlib, vjepa_wm.safe_files as files; lock = files.FolderLock(pathlib.Path(sys.argv[1]))"
    command = [sys.executable, "-c", f"{code}; print(flush=True); input()", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        process.stdout.readline()
        with pytest.raises(FolderInUseError, match=f"process {process.pid} on"):
            FolderLock(tmp_path)
        process.send_signal(signal.SIGKILL)
    with FolderLock(tmp_path), pytest.raises(FolderInUseError, match=f"process {os.getpid()} on"):
        FolderLock(tmp_path)
