"""What Google's messages become: a reason, the fix, and whether another zone may help."""

from __future__ import annotations

import pytest

from csp.dataproc.failures import explain, sentence

LINK = "https://console.example/enable"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (
            "Cloud Dataproc API has not been used in project 1 before or it is disabled.",
            "SERVICE_DISABLED",
            f"gcloud services enable dataproc.googleapis.com`, or open {LINK}; then",
        ),
        ("User not authorized to act as service account 'a@p.iam.gserviceaccount.com'.", "NO_ACT_AS", "a@p.iam."),
        ("Permission 'iam.serviceAccounts.actAs' denied", "NO_ACT_AS", "roles/iam.serviceAccountUser"),
        ("Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 1.0 in region us-central1.", "QUOTA", "Limit: 1.0 in region us-ce"),
        ("Insufficient 'GPUS_ALL_REGIONS' quota. Requested 2.0, available 0.0.", "QUOTA", "available 0.0"),
        ("Constraint constraints/compute.requireShieldedVm violated for project p.", "ORG_POLICY", "requireShieldedVm"),
        ("Permission cloudkms.cryptoKeyVersions.useToEncrypt denied", "KMS", "kms-grants"),
        ("Selected software image version '2.0-debian10' can no longer be used", "IMAGE", "2.0-debian10 is no longer"),
        (
            "Required 'compute.subnetworks.use' permission for 'projects/p'",
            "NO_PERMISSION",
            "compute.subnetworks.use. Ask",
        ),
        (
            "a@b.c does not have storage.objects.create access to it.",
            "NO_PERMISSION",
            "permission storage.objects.create",
        ),
        (
            "Service account service-1@dataproc-accounts.iam.gserviceaccount.com lacks compute.instances.create on p",
            "NO_AGENT_ROLE",
            "agent service-1@dataproc-accounts.iam.gserviceaccount.com may not make the cluster yet. A new project",
        ),
        ("The caller does not have permission", "NO_PERMISSION", "Google does not say which: The caller"),
        ("Something else happened", "REFUSED", "Something else happened"),
    ],
)
def test_a_message_of_googles_has_a_code_and_a_fix(text, code, message):
    assert explain(text, link=LINK).code == code
    assert message in sentence(text, link=LINK)
    assert not explain(text).no_capacity


@pytest.mark.parametrize(
    "text",
    [
        "The zone 'projects/p/zones/us-central1-a' has no resources. ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS",
        "The zone 'projects/p/zones/us-central1-a' does not have enough resources available to fulfill the request.",
        "ZONE_RESOURCE_POOL_EXHAUSTED",
    ],
)
def test_a_zone_without_machines_is_no_reason_to_give_up(text):
    assert explain(text).no_capacity


def test_a_token_in_a_message_is_not_shown():
    assert "ya29" not in sentence("Request had invalid credentials ya29.a0AfH6SMBx-y_z")
