"""The command line of ``secrets-store explain``."""

import json

import click

from cli import cluster
from cli.explain import evidence, reasons


@click.group()
def explain() -> None:
    """Explain why something is as it is, in one sentence, with the evidence."""


@explain.command()
@click.argument("name")
@cluster.namespace_option
@cluster.output_option
@cluster.kubeconfig_option
@click.pass_context
def pod(context: click.Context, name: str, namespace: str, output: str, kubeconfig: str) -> None:
    """Why a pod does not start, or why the content of its volumes is old.

    Exit code 1 if something is wrong.
    """
    kubeconfig = cluster.find_kubeconfig(kubeconfig)
    namespace = namespace or cluster.default_namespace(kubeconfig)
    found = cluster.run(kubeconfig, lambda api: evidence.gather(api, namespace, name))
    answer = reasons.explain(found)
    if output == "json":
        document = {"pod": f"{namespace}/{name}", "problem": answer.problem, "sentence": answer.sentence}
        click.echo(json.dumps({**document, "advice": answer.advice, "evidence": found.lines()}, indent=2))
    else:
        click.secho(answer.sentence, fg="red" if answer.problem else "green", bold=True)
        if answer.advice:
            click.echo(f"→ {answer.advice}")
        for line in found.lines():
            click.echo(f"  {line}")
    context.exit(1 if answer.problem else 0)
