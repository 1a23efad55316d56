"""What upstream's end-to-end tests install and read, as far as it concerns the chart."""

AUDIENCES = ("aud1", "aud2", "conjur", "api://AzureADTokenExchange", "sts.amazonaws.com")
# The values that they install the chart with.
VALUES = (
    "--set=syncSecret.enabled=true,enableSecretRotation=true,rotationPollInterval=30s,windows.enabled=true",
    "--set=linux.crds.annotations.test=a",
    *(f"--set=tokenRequests[{index}].audience={audience}" for index, audience in enumerate(AUDIENCES)),
)
CLUSTER_ROLES = (
    "secretproviderclasses-role",
    "secretproviderclasses-admin-role",
    "secretproviderclasses-viewer-role",
    "secretproviderclasspodstatuses-viewer-role",
    "secretprovidersyncing-role",
)
BINDINGS = ("secretproviderclasses-rolebinding", "secretprovidersyncing-rolebinding")
GROUP = "secrets-store.csi.x-k8s.io"
CRDS = (f"secretproviderclasses.{GROUP}", f"secretproviderclasspodstatuses.{GROUP}")
