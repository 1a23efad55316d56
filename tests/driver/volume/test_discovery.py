"""Which volumes are found after a restart."""

from pathlib import Path

from driver.volume import discovery, mounts
from tests.driver.volume.support import SIZE, commit, files
from tests.support.mounts import bind


def test_volumes_after_a_restart(pods: Path, tmp_path: Path) -> None:
    """Only a whole tmpfs at a target path below the pods directory is found, once even if stacked; no other driver's
    is."""

    def mounted(uid: str, root: Path = pods, note: str = "") -> Path:
        path = root / uid / "volumes" / "kubernetes.io~csi" / "a name" / "mount"
        path.mkdir(parents=True)
        mounts.mount_tmpfs(str(path), size=SIZE, noswap=False)
        if note:
            (path.parent / "vol_data.json").write_text(note)
        return path

    ours = mounted("ours", note='{"driverName": "us"}')
    mounts.mount_tmpfs(str(ours), size=SIZE, noswap=False)
    unnoted = mounted("unnoted", note="no JSON")
    mounted("theirs", note='{"driverName": "them"}')
    mounted("outside", root=tmp_path / "another" / "pods")
    part = mounted("part-of")
    (part / "part").mkdir()
    other = pods / "bound" / "volumes" / "kubernetes.io~csi" / "b" / "mount"
    other.mkdir(parents=True)
    bind(part / "part", other)
    found = {target.path for target in discovery.mounted_targets(str(pods), "us")}
    assert found == {str(ours), str(unnoted), str(part)}
    assert len(discovery.mounted_targets(str(pods))) == 4
    commit(ours, files(a=b"1"))
    volumes = discovery.volumes(str(pods), "us")
    assert [found.target.path for found in volumes if found.last_refresh is not None] == [str(ours)]
    assert [found.target.path for found in volumes if found.last_refresh is None] == [str(part)]
    (tmp_path / "link").symlink_to(tmp_path)
    linked = discovery.volumes(f"{tmp_path}/link/pods", "us")
    assert [found.target.path for found in linked if found.last_refresh is not None] == [
        str(ours).replace(str(tmp_path), f"{tmp_path}/link")
    ]
