"""A node as a person may find it: most of it is well, one provider is away, one store refuses an object.

The fields are those that the roles report; ``tests/tools/test_pictures.py`` compares them.
"""

from typing import Any

NOW = 1795000000.0  # some day in November 2026: pictures must not change with the time of day
_PODS = "/var/lib/kubelet/pods"
_DENIED = (
    'failed to mount secrets store objects for pod shop/checkout-6f7d9c5b8-x2vkp, err: provider "vault": '
    "GET secret/data/shop/payment: 403 permission denied; the role shop-checkout needs a policy that reads this path"
)


def state() -> dict[str, Any]:
    """What the page gets of such a node."""
    away = "nobody listens on /var/run/secrets-store-csi-providers/gcp.sock"
    return {
        "version": "0.1.0",
        "healthz": {"healthy": True, "text": "ok"},
        "driver": {
            "role": "driver",
            "version": "0.1.0",
            "node": "worker-3",
            "noswap": True,
            "started": NOW - 9.1 * 86400,
            "ready": True,
            "reason": "",
            "not_ready_reasons": [],
            "rotation_interval": 120.0,
            "provider_health_check": True,
            "held": {"replies": 0, "bytes": 0},
            "volumes": [
                _volume("shop/checkout-6f7d9c5b8-x2vkp", "shop/checkout", "vault", 1140, 41, 14, _DENIED),
                _volume("shop/cart-5d8f6b7c9d-lq8zt", "shop/cart", "vault", 38, 82),
                _volume("shop/catalog-7b9c4d6f5-9wxtr", "shop/catalog", "vault", 64, 56),
                _volume("billing/invoices-0", "billing/invoices", "aws", 12, 108),
                _volume("billing/ledger-0", "billing/ledger", "aws", 95, 25),
                _volume("monitoring/alertmanager-main-0", "monitoring/alertmanager", "vault", 71, 49),
            ],
            "pending": [
                {
                    "pod": "reports/nightly-29384760-hx4mq",
                    "class": "reports/warehouse",
                    "volume": "secrets",
                    "provider": "gcp",
                    "target": f"{_PODS}/7c1e/volumes/kubernetes.io~csi/secrets/mount",
                    "since": NOW - 47,
                    "running": True,
                    "failures": 0,
                    "reason": "",
                }
            ],
            "secrets": [
                _secret("shop/checkout", "checkout-tls"),
                _secret("shop/cart", "cart-database"),
                _secret("monitoring/alertmanager", "alertmanager-routes"),
            ],
            "secret_count": 3,
            "providers": [
                _provider("aws", version="1.0.1"),
                _provider("gcp", state="away", reason=away, away_since=NOW - 52, waiting=1, version="1.8.0"),
                _provider("vault", version="1.5.0"),
            ],
        },
        "registrar": {
            "role": "registrar",
            "state": "registered",
            "driver": "secrets-store.csi.k8s.io",
            "since": NOW - 9.1 * 86400,
            "error": "",
        },
        "supervised": True,
        "last_known": {},
        "processes": [
            _process("registrar", 21, 9.1, 41.2),
            _process("driver", 22, 24.6, 512.9),
            _process("probe", 23, 13.4, 188.0),
            _process("supervisor", 1, 7.8, 22.4),
        ],
        "not_ready": [],
    }


def _volume(
    pod: str, class_ref: str, provider: str, age: float, due: float, failures: int = 0, reason: str = ""
) -> dict[str, Any]:
    return {
        "pod": pod,
        "class": class_ref,
        "volume": "secrets",
        "provider": provider,
        "target": f"{_PODS}/{pod}/volumes/kubernetes.io~csi/secrets/mount",
        "last_refresh": NOW - age,
        "next_refresh": NOW + due,
        "failures": failures,
        "reason": reason,
        "failed": NOW - 19 if failures else None,
        "last_known_good": False,
        "objects": {"database-password": "7", "tls.crt": "3"},
        "object_count": 2,
    }


def _secret(class_ref: str, name: str) -> dict[str, Any]:
    return {"class_ref": class_ref, "name": name, "synced": NOW - 130, "reason": ""}


def _provider(name: str, **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "connected",
        "reason": "",
        "away_since": None,
        "waiting": 0,
        "socket": f"/var/run/secrets-store-csi-providers/{name}.sock",
        "unused_sockets": "",
        "version": "",
        "last_error": "",
        **fields,
    }


def _process(role: str, pid: int, mebibytes: float, cpu_seconds: float) -> dict[str, Any]:
    return {
        "role": role,
        "pid": pid,
        "resident_bytes": int(mebibytes * 2.1 * 2**20),
        "cpu_seconds": cpu_seconds,
        "open_fds": None,
        "started": NOW - 9.1 * 86400,
        "restarts": None if role == "supervisor" else 0,
        "last_exit": None,
        "proportional_bytes": int(mebibytes * 2**20),
    }
