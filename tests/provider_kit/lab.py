"""A provider whose behaviour the test's request selects."""

import asyncio

from provider_kit import File, MountReply, MountRequest, PermissionDenied, Provider, ReplyError


class LabProvider(Provider):
    """Does what the class parameter ``what`` says."""

    name = "lab"

    async def mount(self, request: MountRequest) -> MountReply:
        what = request.require("what")
        if what == "denied":
            raise PermissionDenied("this pod may not")
        if what == "code":
            raise ReplyError("Forbidden")
        if what == "bug":
            raise KeyError("hunter2")
        if what == "no-versions":
            return MountReply([], {})
        if what == "nothing":
            return None  # type: ignore[return-value]  # what authors forget
        if what == "deadline":
            async with asyncio.timeout_at(min(request.deadline, asyncio.get_running_loop().time() + 0.05)):
                await asyncio.Event().wait()
        if what == "hang":
            await asyncio.Event().wait()
        return MountReply([File("a", b"hunter2"), File("b", b"", 0o400)], {"a": "1"})
