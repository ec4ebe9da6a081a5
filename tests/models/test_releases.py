import pytest

from vjepa_wm.models.checkpoint import CheckpointError
from vjepa_wm.models.official.releases import RELEASES, find_release, release_of, resolve, spellings


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """Send all places where downloads lie into an empty folder."""
    monkeypatch.setenv("VJEPA_WM_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_names_are_unique_and_addresses_are_addresses():
    names = [name for release in RELEASES for name in dict.fromkeys(spellings(release))]
    assert len(names) == len(set(names))
    assert all(release.url.startswith("https://") and release.image_size in (224, 256, 384) for release in RELEASES)


def test_an_existing_path_is_itself(places):
    path = put(places / "vitl.pt")
    assert resolve(path) == path
    assert resolve("vitl.pt").resolve() == path


@pytest.mark.parametrize("name", ["vjepa2_vit_large", "vitl.pt", "vitl"])
@pytest.mark.parametrize("place", ["own/vitl.pt", "torch/hub/checkpoints/vitl.pt"])
def test_names_are_found_in_the_caches(places, name, place):
    path = put(places / place)
    assert resolve(name) == path


def test_the_own_cache_comes_first(places):
    put(places / "torch/hub/checkpoints/vitl.pt")
    path = put(places / "own/vitl.pt")
    assert resolve("vitl") == path


def test_jepa_wms_files_are_found_under_both_names(places):
    path = put(places / "hf/hub/models--facebook--jepa-wms/snapshots/abc/vjepa2_ac_droid.pth.tar")
    assert resolve("vjepa2_ac_droid") == path
    assert resolve("droid_vj2ac_noprop.pth.tar") == path
    assert release_of(path).name == "vjepa2_ac_droid"


def test_huggingface_snapshots_are_found(places, monkeypatch):
    folder = places / "hf/hub/models--facebook--vjepa2-vitl-fpc64-256"
    first = put(folder / "snapshots/aaa/config.json").parent
    assert resolve("facebook/vjepa2-vitl-fpc64-256") == first
    second = put(folder / "snapshots/bbb/config.json").parent
    with pytest.raises(CheckpointError, match="is not on this machine"):
        resolve("facebook/vjepa2-vitl-fpc64-256")
    put(folder / "refs/main").write_text("bbb\n")
    assert resolve("vjepa2-vitl-fpc64-256") == second
    monkeypatch.setenv("HF_HUB_CACHE", str(places / "other"))
    with pytest.raises(CheckpointError, match="is not on this machine"):
        resolve("facebook/vjepa2-vitl-fpc64-256")
    path = put(places / "own/vjepa2-vitl-fpc64-256/config.json").parent
    assert resolve("vjepa2-vitl-fpc64-256") == path


def test_a_known_name_that_is_nowhere_tells_places_and_address(places):
    with pytest.raises(CheckpointError) as error:
        resolve("vjepa2_vit_giant_384")
    text = str(error.value)
    assert "vjepa2_vit_giant_384 (V-JEPA 2 ViT-g: video encoder and masked predictor) is not on this machine" in text
    assert str(places / "own" / "vitg-384.pt") in text
    assert str(places / "torch" / "hub" / "checkpoints" / "vitg-384.pt") in text
    assert "Fetch https://dl.fbaipublicfiles.com/vjepa2/vitg-384.pt" in text


@pytest.mark.parametrize(
    ("name", "meant"),
    [("vjepa2_vit_larg", "vjepa2_vit_large"), ("vitg_384.pt", "vitg-384.pt"), ("vjepa2_ac_dorid", "vjepa2_ac_droid")],
)
def test_an_unknown_name_gets_a_suggestion_and_the_list(name, meant):
    with pytest.raises(CheckpointError, match=f"no file or folder at '{name}'.*did you mean '{meant}'.*Known: .*ek100"):
        resolve(name)


def test_what_resembles_nothing_gets_the_list_only():
    with pytest.raises(CheckpointError, match=r"no published checkpoint of that name\. Known: vjepa2_vit_large, "):
        resolve("zzzqqq")
    assert find_release("zzzqqq") is None


def test_a_missing_path_is_not_taken_for_a_name(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*/runs/pre: there is no such file or folder$"):
        resolve(tmp_path / "runs/pre")
