mock_provider "databricks" {}

variables {
  name = "models"
}

run "a_role_of_aws_for_two_principals" {
  command = plan

  variables {
    aws_role_arn = "arn:aws:iam::123456789012:role/models"
    principals   = ["a", "b"]
  }

  assert {
    condition     = databricks_credential.this.purpose == "SERVICE" && one(databricks_credential.this.aws_iam_role).role_arn == var.aws_role_arn && length(databricks_credential.this.databricks_gcp_service_account) == 0
    error_message = "a credential for services, by the role"
  }

  assert {
    condition     = alltrue([for each in databricks_grant.access : each.credential == "models" && each.privileges == toset(["ACCESS"])]) && length(databricks_grant.access) == 2
    error_message = "both may use it"
  }
}

run "google_cloud_makes_an_account" {
  command = plan

  assert {
    condition     = length(databricks_credential.this.databricks_gcp_service_account) == 1 && length(databricks_credential.this.aws_iam_role) == 0
    error_message = "neither role nor connector is given"
  }
}

run "two_clouds" {
  command = plan

  variables {
    aws_role_arn              = "arn:aws:iam::123456789012:role/models"
    azure_access_connector_id = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Databricks/accessConnectors/c"
  }

  expect_failures = [databricks_credential.this]
}

run "a_name_with_a_blank" {
  command = plan

  variables {
    name = "my models"
  }

  expect_failures = [var.name]
}

run "a_profile_is_no_role" {
  command = plan

  variables {
    aws_role_arn = "arn:aws:iam::123456789012:instance-profile/models"
  }

  expect_failures = [var.aws_role_arn]
}

run "a_name_is_no_connector" {
  command = plan

  variables {
    azure_access_connector_id = "connector"
  }

  expect_failures = [var.azure_access_connector_id]
}
