"""The registrar's /healthz: whether its own socket answers, and what kubelet reported."""

import stat

from protos import pluginregistration_pb2
from registrar.config import RegistrarConfig
from registrar.reconciler import Reconciler
from registrar.state import State
from runtime import http, redact, rpc


def healthz_handler(config: RegistrarConfig, reconciler: Reconciler) -> http.Handler:
    """200 while kubelet can register the driver or has done so, 404 if there is no socket, 500 otherwise."""

    async def healthz(_: http.Request) -> http.Response:
        registration = reconciler.registration
        if registration.state is State.REFUSED:
            return http.text_response(f"kubelet refused the registration: {registration.error}", 500)
        problem = await _find_problem(config, reconciler)
        if problem is not None:
            return http.text_response(*problem)
        if registration.state is State.WAITING:
            return http.text_response(f"ok ({registration.error or registration.state.value})")
        return http.text_response("ok")

    return healthz


async def _find_problem(config: RegistrarConfig, reconciler: Reconciler) -> tuple[str, int] | None:
    """What is wrong with the socket, as text and HTTP status; None if it answers."""
    path = reconciler.socket
    try:
        found = path.lstat() if path is not None else None
    except FileNotFoundError:
        found = None
    except OSError as error:
        return str(error), 500
    if path is None or found is None:
        return "registration socket does not exist", 404
    if not stat.S_ISSOCK(found.st_mode):
        return f"{path} is not a socket", 500
    try:
        info = await rpc.call_once(
            str(path),
            "/pluginregistration.Registration/GetInfo",
            pluginregistration_pb2.InfoRequest(),
            pluginregistration_pb2.PluginInfo,
            config.timeout,
        )
    except rpc.Unreadable as failure:
        return f"GetInfo failed: {failure.details}", 500
    except rpc.CallFailed as failure:
        return f"GetInfo failed: {failure.code.name} {redact.text(failure.details)}", 500
    if info.name != reconciler.registration.driver:
        return f"{path} answers for another driver", 500
    return None
