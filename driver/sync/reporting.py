"""The events on a pod about the Secrets of its class."""

from driver import limits
from driver.ports import Cluster, Pod, PodEvent, ProviderClass
from driver.sync.jobs import Job, Member
from driver.sync.merge import Outcome
from driver.sync.wanted import Wanted

FAILED, SYNCED, TAKEN, ADOPTED = "FailedToCreateSecret", "SyncedSecret", "SecretKeyTaken", "SecretAdopted"
OWNER_REFUSED, REPEATED = "SecretOwnerRefused", "RepeatedInClass"


class Reporter:
    """Sends an event where a method says that there is something to report."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def failed(self, member: Member, job: Job) -> None:
        """The job has the problem that it says."""
        await self._event(member, True, FAILED, job.problem, job.secret_name)

    async def recovered(self, member: Member, job: Job) -> None:
        """The job succeeded after failures."""
        await self._event(member, False, SYNCED, f"Secret {job.secret_name} is synced again", job.secret_name)

    async def excess(self, provider_class: ProviderClass, pod: Pod, most: int) -> None:
        """The class asks for more Secrets than ``most``: the others are left out."""
        asked = len({entry.secret_name.strip() for entry in provider_class.secret_objects})
        if asked > most:
            class_ref = provider_class.class_ref
            message = (
                f"SecretProviderClass {class_ref} asks for {asked} Secrets; the first {most} are synced "
                "(--max-secret-objects): divide them among several classes"
            )
            await self._cluster.event(PodEvent(pod, True, FAILED, message, class_ref.name))

    async def ensured(self, member: Member, secret: Wanted, outcome: Outcome) -> None:
        """The Secret was adopted, keys of it were taken from another class, or an owner was refused."""
        if outcome.adopted:
            message = (
                f"Secret {secret.name} was there before; the keys {', '.join(sorted(secret.data))} are written to it, "
                "the rest of it is kept, and it is not deleted with its pods unless it had an owner"
            )
            await self._event(member, False, ADOPTED, message, secret.name)
        for key, holder in outcome.taken:
            message = (
                f"key {key} of Secret {secret.name} was written by SecretProviderClass {holder} and is now written by "
                f"{secret.class_name}; if both are in use give each another key or secretName"
            )
            await self._event(member, True, TAKEN, message, f"{secret.name}/{key}")
        if outcome.owners_refused:
            await self._event(member, True, OWNER_REFUSED, outcome.owners_refused, secret.name)

    async def repeated(self, job: Job, member: Member, secret: Wanted) -> None:
        """An entry or a key is there twice: the last one counts, as with the Go driver. Reported once."""
        sentences = []
        if len(job.entries) > 1:
            sentences.append(
                f"{len(job.entries)} entries of spec.secretObjects name Secret {secret.name}: the last counts"
            )
        if secret.repeated:
            keys = ", ".join(secret.repeated[: limits.SHOWN_OBJECTS])
            sentences.append(f"the entry for Secret {secret.name} lists twice, and the last counts: {keys}")
        sentence = "; ".join(sentences)
        if sentence and sentence != job.reported:
            message = f"SecretProviderClass {job.class_ref}: {sentence}. Remove what is not wanted"
            await self._event(member, True, REPEATED, message, job.secret_name)
        job.reported = sentence

    async def _event(self, member: Member, warning: bool, reason: str, message: str, subject: str) -> None:
        await self._cluster.event(PodEvent(member.pod, warning, reason, message, subject))
