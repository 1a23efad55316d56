"""The wire contracts are the published ones, and every way to install the package carries all of it."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from google.protobuf.descriptor import Descriptor, FileDescriptor

from protos import csi_pb2, pluginregistration_pb2, provider_pb2
from tests.support import unmeasured

# The distributions are built once, which takes its time on a busy machine.
pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).resolve().parent.parent
# What is in which distribution: the main one, which the image installs; the kubelet stub's; and what is in none.
PACKAGES = (
    "protos",
    "runtime",
    "driver",
    "registrar",
    "probe",
    "provider_kit",
    "provider_openbao",
    "provider_stub",
    "container",
    "cli",
)
KUBELET_STUB = "kubelet_stub"
PROVIDER_CONFORMANCE = "provider_conformance"  # in the kit's, see tests/tools/test_kit_distribution.py
NOT_DISTRIBUTED = ("bench", "demo", "docker", "examples", "tests", "tools")
CONTRACTS = ("csi", "pluginregistration", "provider")
STUBS = [f"protos/{name}_pb2{suffix}" for name in CONTRACTS for suffix in (".py", ".pyi", "_grpc.py", "_grpc.pyi")]
COMMANDS = {
    "secrets-store": "cli.main",
    "kubectl-secrets_store": "cli.main",
    "secrets-store-csi": "container.start",
    "secrets-store-csi-driver": "driver.main",
    "secrets-store-csi-registrar": "registrar.main",
    "secrets-store-csi-probe": "probe.main",
    "secrets-store-csi-crds": "driver.cluster.crds",
    "secrets-store-csi-sync": "driver.secretsync.main",
    "secrets-store-provider-openbao": "provider_openbao.main",
    "secrets-store-provider-stub": "provider_stub.main",
}
DATA = {
    "driver/manifests/crds/secretproviderclasses.yaml": "helm/crds/secretproviderclasses.yaml",
    "driver/manifests/crds/secretsyncs.yaml": "helm/files/secretsyncs.yaml",
    "cli/validate/providers.yaml": "cli/validate/providers.yaml",
}
KUBELET_STUB_COMMAND = "secrets-store-kubelet-stub"

# One line a message: its fields in the order of their numbers, which start at 1 and have no gap.
# `!` marks csi_secret, `*` repeated fields (maps too).
CSI = """
GetPluginInfoResponse: name vendor_version manifest*
GetPluginCapabilitiesResponse: capabilities*
PluginCapability: service volume_expansion
ProbeResponse: ready
VolumeCapability: block mount access_mode
VolumeCapability.MountVolume: fs_type mount_flags* volume_mount_group
VolumeCondition: abnormal message
VolumeUsage: available total used unit
NodeStageVolumeRequest: volume_id publish_context* staging_target_path volume_capability secrets!* volume_context*
NodePublishVolumeRequest: volume_id publish_context* staging_target_path target_path volume_capability \
readonly secrets!* volume_context*
NodeUnpublishVolumeRequest: volume_id target_path
NodeGetVolumeStatsRequest: volume_id volume_path staging_target_path
NodeGetVolumeStatsResponse: usage* volume_condition
NodeExpandVolumeRequest: volume_id volume_path capacity_range staging_target_path volume_capability secrets!*
NodeGetCapabilitiesResponse: capabilities*
NodeGetInfoResponse: node_id max_volumes_per_node accessible_topology
ControllerGetCapabilitiesResponse: capabilities*
CreateVolumeRequest: name capacity_range volume_capabilities* parameters* secrets!* \
volume_content_source accessibility_requirements mutable_parameters*
ControllerPublishVolumeRequest: volume_id node_id volume_capability readonly secrets!* volume_context*
"""
REGISTRATION = """
PluginInfo: type name endpoint supported_versions*
RegistrationStatus: plugin_registered error
"""
PROVIDER = """
VersionRequest: version
VersionResponse: version runtime_name runtime_version
MountRequest: attributes secrets target_path permission current_object_version*
MountResponse: object_version* error files*
File: path mode contents
ObjectVersion: id version
Error: code
"""


def message(file: FileDescriptor, path: str) -> Descriptor:
    """The message of a dotted path, nested ones included."""
    first, *rest = path.split(".")
    found = file.message_types_by_name[first]
    for name in rest:
        found = found.nested_types_by_name[name]
    return found


def row(file: FileDescriptor, path: str) -> str:
    """One line of the tables above, from the descriptor."""
    fields = message(file, path).fields
    assert [field.number for field in fields] == list(range(1, len(fields) + 1)), path
    names = [
        field.name + "!" * field.GetOptions().Extensions[csi_pb2.csi_secret] + "*" * field.is_repeated
        for field in fields
    ]
    return f"{path}: {' '.join(names)}"


@pytest.mark.parametrize(
    ("file", "package", "table"),
    [
        (csi_pb2.DESCRIPTOR, "csi.v1", CSI),
        (pluginregistration_pb2.DESCRIPTOR, "pluginregistration", REGISTRATION),
        (provider_pb2.DESCRIPTOR, "v1alpha1", PROVIDER),
    ],
    ids=CONTRACTS,
)
def test_field_numbers(file: FileDescriptor, package: str, table: str) -> None:
    """Scenario: a field of a contract is renamed, moved or loses its mark. Expected: the pinned table differs."""
    lines = table.strip().splitlines()
    assert file.package == package
    assert [row(file, line.partition(":")[0]) for line in lines] == lines


def test_services_and_methods() -> None:
    """Scenario: the services as kubelet and providers dial them. Expected: full names and numbers of methods."""
    found = {
        service.full_name: len(service.methods)
        for module in (csi_pb2, pluginregistration_pb2, provider_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
    }
    assert found == {
        "csi.v1.Identity": 3,
        "csi.v1.Node": 8,
        "csi.v1.Controller": 14,
        "pluginregistration.Registration": 2,
        "v1alpha1.CSIDriverProvider": 2,
    }


def test_capability_values() -> None:
    """Scenario: the enum values that we advertise or must understand. Expected: the published numbers."""
    node = csi_pb2.NodeServiceCapability.RPC
    assert (node.STAGE_UNSTAGE_VOLUME, node.GET_VOLUME_STATS, node.EXPAND_VOLUME) == (1, 2, 3)
    assert (node.VOLUME_CONDITION, node.SINGLE_NODE_MULTI_WRITER, node.VOLUME_MOUNT_GROUP) == (4, 5, 6)
    assert csi_pb2.PluginCapability.Service.CONTROLLER_SERVICE == 1
    assert csi_pb2.ControllerServiceCapability.RPC.UNKNOWN == 0
    assert csi_pb2.VolumeCapability.AccessMode.SINGLE_NODE_READER_ONLY == 2
    assert (csi_pb2.VolumeUsage.BYTES, csi_pb2.VolumeUsage.INODES) == (1, 2)


def test_every_secrets_field_is_marked() -> None:
    """Scenario: redaction trusts csi_secret. Expected: each field called `secrets` of csi.v1 carries it, no other."""
    for path in csi_pb2.DESCRIPTOR.message_types_by_name:
        for field in message(csi_pb2.DESCRIPTOR, path).fields:
            marked = field.GetOptions().Extensions[csi_pb2.csi_secret]
            assert marked == (field.name == "secrets"), f"{path}.{field.name}"


def run(*command: str, cwd: Path) -> str:
    """Runs a build step; its whole output is in the failure."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=unmeasured.environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone holds: the tracked and not ignored files as they are now, and no generated one."""
    folder = tmp_path_factory.mktemp("clone")
    names = run("git", "-c", f"safe.directory={ROOT}", "ls-files", "-co", "--exclude-standard", "-z", cwd=ROOT)
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            copy = folder / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((ROOT / name).read_bytes())
    return folder


@pytest.fixture(scope="module")
def dist(clone: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution, and the wheel built from it and not from the clone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(clone), cwd=clone)
    return folder


def test_every_package_has_its_place() -> None:
    """Scenario: a new top-level package. Expected: it must be listed above, in a distribution or in none."""
    folders = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert folders == {*PACKAGES, KUBELET_STUB, PROVIDER_CONFORMANCE, *NOT_DISTRIBUTED}


@pytest.mark.slow
def test_source_distribution(dist: Path) -> None:
    """Scenario: the sdist. Expected: contracts, markers and licence, but no generated stubs."""
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
    wanted = {"setup.py", "setup.cfg", "pyproject.toml", "LICENSE"}
    wanted |= {f"protos/{name}.proto" for name in CONTRACTS} | {f"{name}/py.typed" for name in PACKAGES}
    assert wanted <= names
    assert not [name for name in names if "_pb2" in name or name.endswith(".pyc")]


@pytest.mark.slow
def test_wheel(dist: Path) -> None:
    """Scenario: the wheel. Expected: stubs, contracts, markers, commands and licence; nothing beside our packages."""
    [archive] = dist.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        names = set(wheel.namelist())
        [entries] = [name for name in names if name.endswith("entry_points.txt")]
        scripts = wheel.read(entries).decode().split("[console_scripts]", 1)[1].split()
        for name, original in DATA.items():
            assert wheel.read(name) == (ROOT / original).read_bytes()
    wanted = {*STUBS, *(f"protos/{name}.proto" for name in CONTRACTS), *(f"{name}/py.typed" for name in PACKAGES)}
    assert wanted <= names
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == set(PACKAGES)
    assert "".join(scripts) == "".join(f"{name}={module}:main" for name, module in sorted(COMMANDS.items()))
    assert [name for name in names if name.endswith("/LICENSE")]


@pytest.mark.slow
def test_kubelet_stub_wheel(clone: Path, dist: Path, tmp_path: Path) -> None:
    """Scenario: the kubelet stub's own wheel, built from its sdist. Expected: the stub, its marker and its command and
    nothing else; the version is the main distribution's, which it requires."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(tmp_path), KUBELET_STUB, cwd=clone)
    [archive] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(archive) as wheel:
        names = set(wheel.namelist())
        [entries] = [name for name in names if name.endswith("entry_points.txt")]
        scripts = wheel.read(entries).decode().split("[console_scripts]", 1)[1].split()
        [metadata] = [name for name in names if name.endswith(".dist-info/METADATA")]
        requires = wheel.read(metadata).decode()
    modules = {f"{KUBELET_STUB}/{path.name}" for path in (clone / KUBELET_STUB).glob("*.py")}
    assert {name for name in names if ".dist-info/" not in name} == {*modules, f"{KUBELET_STUB}/py.typed"}
    assert "".join(scripts) == f"{KUBELET_STUB_COMMAND}={KUBELET_STUB}.main:main"
    [main] = dist.glob("*.whl")
    version = main.name.split("-")[1]
    assert archive.name.split("-")[1] == version and f"Requires-Dist: secrets-store-csi=={version}\n" in requires


@pytest.mark.slow
def test_editable_install(clone: Path, tmp_path: Path) -> None:
    """Scenario: an editable install of a fresh clone. Expected: stubs beside the contracts, a plain path entry."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--no-index"]
    run(*pip, "--target", str(tmp_path), "--editable", str(clone), cwd=clone)
    assert not [name for name in STUBS if not (clone / name).is_file()]
    [path_file] = tmp_path.glob("__editable__*.pth")
    assert path_file.read_text().strip() == str(clone)
