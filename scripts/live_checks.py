"""Ask a live cluster what no test here can answer; docs/live-checks.md has the questions.

    .venv/bin/python scripts/live_checks.py databricks-aws --cluster 0812-164905-abcd1234
    .venv/bin/python scripts/live_checks.py dataproc --cluster NAME --region us-central1 --project my-project

    .venv/bin/python scripts/live_checks.py dataproc --region us-central1 --deploy --shape l4x1 --framework vllm

It takes the platform's own command, `databricks` or `gcloud`, logged in. It runs commands on this machine and one job
on the cluster, changes neither, and prints a table to paste into an issue. Without a cluster it asks what needs none.
With --deploy it makes a cluster by `spark-sidecar PLATFORM up`, which costs money, asks that one, tries the other
verbs, and deletes it. Ends 1 if an answer is not the expected one.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from csp.live_checks import ask, deployment_checks, report
from csp.live_checks.ask import Answer
from csp.live_checks.on_cluster import Target
from csp.live_checks.questions import Question, of
from server_utils.clusters.catalogue import platforms


def main(arguments: Sequence[str]) -> int:
    """Ask, and print what was found."""
    given, questions = _parse(arguments)
    target = Target(given.platform, given.cluster, given.region, given.project, given.folder)
    answers = list(_deployed(target, given.deploy, questions)) if given.deploy else ask.ask(questions, target)
    if given.json:
        print(json.dumps(report.as_json(answers), indent=2, ensure_ascii=False))
    else:
        heading = f"Live checks of {given.platform}, {datetime.now(UTC):%Y-%m-%d}"
        print(report.as_markdown(answers, heading=heading), end="")
    return int(any(each.wrong for each in answers))


def _deployed(target: Target, options: Sequence[str], questions: Sequence[Question]) -> Iterator[Answer]:
    """Say each answer when it comes: a cluster takes many minutes."""
    for each in deployment_checks.deployed(
        target, options, lambda name: ask.ask(questions, replace(target, cluster=name))
    ):
        print(f"{each.question.key}: {each.outcome.value}", file=sys.stderr)
        yield each


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[Question]]:
    parser = argparse.ArgumentParser(prog="live_checks.py", description=(__doc__ or "").split(";")[0])
    parser.add_argument("platform", choices=platforms())
    parser.add_argument("--cluster", help="its id on Databricks, its name on Dataproc")
    parser.add_argument("--region", help="Google Cloud: the region of cluster and quota")
    parser.add_argument("--project", help="Google Cloud: the project")
    parser.add_argument("--folder", default="/Shared", help="Databricks: where the notebook is put, and deleted")
    parser.add_argument("--only", nargs="+", metavar="QUESTION", help="only these questions")
    parser.add_argument(
        "--deploy", nargs=argparse.REMAINDER, metavar="OPTION", help="the last one: make a cluster with these options"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args(arguments)
    questions = of(given.platform)
    if unknown := set(given.only or ()) - {each.key for each in questions}:
        parser.error(f"{given.platform} has no question {', '.join(sorted(unknown))}; docs/live-checks.md has them")
    if given.cluster and given.deploy:
        parser.error("give --cluster to ask a cluster that is there, or --deploy to make one")
    if given.platform == "dataproc" and given.cluster and not given.region:
        parser.error("--cluster needs --region on dataproc")
    return given, [each for each in questions if given.only is None or each.key in given.only]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
