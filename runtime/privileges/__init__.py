"""What a process of the container gives up before it talks to anybody.

The container is privileged, since Kubernetes allows mounts to propagate to the node only from such a container. Only
the driver mounts. So each role, right after the fork and while it has one thread, gives up what it does not need:

* all capabilities (capabilities(7)) that it does not name, for ever: from the bounding set, too;
* new privileges by an executed file (``PR_SET_NO_NEW_PRIVS``);
* core dumps, and being read by others: it is not dumpable (``PR_SET_DUMPABLE``), so that ptrace and ``/proc/PID/mem``
  are closed to all who lack ``CAP_SYS_PTRACE``;
* for roles that only talk over sockets, system calls with which a program attacks a kernel or other processes
  (``seccomp``).

What the machine does not allow (no root, an old kernel, a sandbox) is left as it is, with one line in the log.
"""

from runtime.privileges.restrict import NOTHING, VOLUMES, Privileges, harden, restrict

__all__ = ["NOTHING", "VOLUMES", "Privileges", "harden", "restrict"]
