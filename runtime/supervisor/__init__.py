"""supervisord that forks its programs from one warm process: ``supervise(roles)``."""

from runtime.supervisor.board import Board, RoleState
from runtime.supervisor.roles import Limits, Role
from runtime.supervisor.supervise import supervise

__all__ = ["Board", "Limits", "Role", "RoleState", "supervise"]
