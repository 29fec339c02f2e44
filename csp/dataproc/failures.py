"""Explain the refusals of Google's services: a sentence and a fix for each message. Laptop; sends no request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from re import Match

from csp.cloud import Failure
from server_utils.host.redaction import scrub

AGENT = "NO_AGENT_ROLE"
_Explanation = Callable[[Match[str]], Failure]
_OR_OPEN = ", or open {link}"
_LONGEST = 600  # characters of a message: some repeat themselves for every node


def explain(text: str, *, link: str = "") -> Failure:
    """Return why a cluster or a request was refused. link: Google's page about this refusal."""
    for pattern, explanation in _EXPLANATIONS:
        if match := re.search(pattern, text):
            failure = explanation(match)
            fix = failure.fix.replace("{link}", link) if link else failure.fix.replace(_OR_OPEN, "")
            return replace(failure, fix=fix)
    return Failure("REFUSED", short(text), f"Look at {link or 'the page of clusters in the console'}")


def sentence(text: str, *, link: str = "") -> str:
    """Return reason and fix of a refusal as one text."""
    failure = explain(text, link=link)
    return f"{failure.reason}. {failure.fix}"


def short(text: str) -> str:
    """Return a message of Google's on one line, without tokens, and not longer than a screen."""
    line = " ".join(scrub(text).split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def _service(match: Match[str]) -> Failure:
    named = re.search(r"[a-z]+\.googleapis\.com", match.string)
    name = named[0] if named else "dataproc.googleapis.com"
    fix = f"Run `gcloud services enable {name}`{_OR_OPEN}; then wait a minute"
    return Failure("SERVICE_DISABLED", f"the API {name} is switched off in this project", fix)


def _act_as(match: Match[str]) -> Failure:
    account = match["account"] or "the nodes' service account"
    fix = f"Ask for roles/iam.serviceAccountUser on {account}"
    return Failure("NO_ACT_AS", f"you may not run nodes as {account}", fix)


def _quota(match: Match[str]) -> Failure:
    metric = match["a"] or match["b"]
    numbers = f": {' '.join(match['rest'].split())}" if match["rest"] else ""
    fix = f"Ask for more {metric} (console, IAM, Quotas), or take a smaller shape or fewer workers"
    return Failure("QUOTA", f"the quota {metric} is used up{numbers}", fix)


def _stock_out(match: Match[str]) -> Failure:
    fix = "Try another --zone or shape, or try later: `spark-sidecar shapes --platform dataproc` lists the shapes"
    return Failure(match[0], f"{match['zone'] or 'the zone'} has no such machine now", fix, no_capacity=True)


def _policy(match: Match[str]) -> Failure:
    fix = "Ask the organisation's administrators for an exception; csp/dataproc/README.md says what each one stops"
    return Failure("ORG_POLICY", f"the policy {match['name']} of the organisation forbids it", fix)


def _init_action(match: Match[str]) -> Failure:
    fix = "The log below says why; repair that, and run the same command again"
    return Failure("INIT_ACTION", f"the initialization action {match['action']} failed", fix)


def _permission(match: Match[str]) -> Failure:
    name = next(filter(None, match.groups()))
    fix = f"Ask for a role with {name}; csp/dataproc/README.md lists the roles"
    return Failure("NO_PERMISSION", f"you do not have the permission {name}", fix)


def _nameless(match: Match[str]) -> Failure:
    fix = "Ask for roles/dataproc.editor on the project; csp/dataproc/README.md lists the roles"
    return Failure(
        "NO_PERMISSION", f"you lack a permission, and Google does not say which: {short(match.string).rstrip('.')}", fix
    )


def _agent(match: Match[str]) -> Failure:
    agent = match["agent"]
    fix = f"A new project makes it within minutes, so try again; else grant roles/dataproc.serviceAgent to {agent}"
    return Failure(AGENT, f"Google's agent {agent} may not make the cluster yet", fix)


def _key(_: Match[str]) -> Failure:
    fix = "Grant roles/cloudkms.cryptoKeyEncrypterDecrypter to Google's agents (Terraform module kms-grants)"
    return Failure("KMS", "Google's agents may not use your encryption key", fix)


def _image(match: Match[str]) -> Failure:
    return Failure("IMAGE", f"the image {match['name']} is no longer offered", "Give a newer one with --runtime")


_EXPLANATIONS: tuple[tuple[str, _Explanation], ...] = (
    (r"has not been used in project|SERVICE_DISABLED", _service),
    (r"act as service account '?(?P<account>[^\s']*@[^\s']*)?|iam\.serviceAccounts\.actAs", _act_as),
    (r"(?:Insufficient '(?P<a>\w+)' quota|Quota '(?P<b>\w+)' exceeded)\.?(?P<rest>[^.]*(?:\.\d[^.]*)*)", _quota),
    (r"(?:zones/(?P<zone>[\w-]+)'[\s\S]*?)?ZONE_RESOURCE_POOL_EXHAUSTED(?:_WITH_DETAILS)?", _stock_out),
    (r"(?P<zone>(?!))?does not have enough resources available to fulfill", _stock_out),
    (r"Constraint (?P<name>\S+) violated", _policy),
    (r"Initialization action failed\. Failed action '(?P<action>[^']+)'", _init_action),
    (r"cloudkms\.cryptoKeyVersions\.useToEncrypt", _key),
    (r"(?P<agent>service-\d+@dataproc-accounts\.iam\.gserviceaccount\.com)", _agent),
    (r"(?P<name>\b[a-z][\w]*\.[a-zA-Z]+\.[a-zA-Z]+) on \S+", _permission),
    (r"Required '(?P<name>[\w.]+)' permission|does not have (?P<access>[\w.]+) access", _permission),
    (r"caller does not have permission|[Pp]ermission denied", _nameless),
    (r"image version '(?P<name>[^']+)' can no longer be used", _image),
)
