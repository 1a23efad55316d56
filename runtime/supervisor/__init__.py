"""supervisord as the container's PID 1, with one change: roles are forked, not executed.

What
    supervisord (http://supervisord.org/) normally starts a program with fork() and exec(): the child replaces itself by
    a new program, which for Python means a new interpreter that imports every module again. Here the child does not
    exec. The supervisor has already imported what the three roles need, and the child, a copy of the supervisor, calls
    a Python function: ``Role.run``. A role that dies is forked again from the same process and is up within
    milliseconds, since there is nothing to import.

Why
    Memory. After fork() the kernel lets parent and child share all pages until one of them writes to a page; only then
    that page is copied. So the interpreter, its libraries and all imported modules are in memory once for the whole
    container instead of once per process. docs/performance.md has the figures.

    Python writes to objects even when a program only reads them: it counts references, and its garbage collector keeps
    its marks in the objects' headers. Every write copies a page. The reference counts cannot be avoided, the collector
    can: before the first fork ``supervise`` calls gc.freeze() (https://docs.python.org/3/library/gc.html#gc.freeze),
    after which no collection, in any process, looks at the objects that exist so far.

What it costs
    * The supervisor must have exactly one thread. A child has only the thread that called fork(); if another thread
      held a lock at that moment, the lock stays locked in the child for ever.
    * The supervisor must have no gRPC channel or server and no event loop. gRPC starts threads of its own
      (https://github.com/grpc/grpc/blob/master/doc/fork_support.md), and both wait on an epoll instance, which parent
      and child share: what one of them adds or removes there, it adds or removes for the other too.
    * A child inherits everything else too: open files, signal handlers, supervisord's event subscriptions, the
      environment. ``child`` undoes that before the role runs.
    * A restarted role runs the code that was imported when the container started, not what is on disk now.

    ``fork_safety`` checks the first two before each fork; if one is violated nothing is forked, and the container ends
    with a sentence that says what to change.

What must not be done
    * At import: start a thread, create a channel, server, event loop or executor, open a file or a socket, or compute
      what must differ between processes (a pid, a start time, a random seed). Do it in the role's ``run``.
    * In the supervisor: anything but supervising. Whatever it allocates, every later child inherits.
    * In the child: return or raise into supervisord's main loop, which would then run twice. ``child.run_role`` ends
      the process in all cases.
"""
