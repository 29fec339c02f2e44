mock_provider "databricks" {
  mock_data "databricks_current_user" {
    defaults = { user_name = "me@example.com" }
  }
}

variables {
  principal     = "team@example.com"
  catalog       = "main"
  schema        = "inference"
  read_volumes  = ["models"]
  write_volumes = ["files"]
}

run "volumes_are_granted_and_nothing_above_them" {
  command = plan

  assert {
    condition     = databricks_grant.volumes["models"].privileges == toset(["READ_VOLUME"])
    error_message = "The models may be read only."
  }

  assert {
    condition     = databricks_grant.volumes["files"].privileges == toset(["READ_VOLUME", "WRITE_VOLUME"])
    error_message = "The files may be read and written."
  }

  assert {
    condition     = length(databricks_grant.catalog) == 0 && length(databricks_grant.schema) == 0
    error_message = "Grants on catalog and schema replace others of the principal: only when asked."
  }

  assert {
    condition     = length(output.needed) == 4 && output.needed[0] == "GRANT USE CATALOG ON CATALOG `main` TO `team@example.com`"
    error_message = "What is needed is not all listed."
  }
}

run "catalog_and_schema_are_granted_when_asked" {
  command = plan

  variables {
    grant_catalog = true
    grant_schema  = true
  }

  assert {
    condition     = databricks_grant.catalog[0].catalog == "main" && databricks_grant.schema[0].schema == "main.inference"
    error_message = "The wrong catalog or schema."
  }
}

run "a_user_may_restart_the_cluster" {
  command = plan

  variables {
    clusters = { gpu = "0123-456789-abc" }
  }

  assert {
    condition     = databricks_permissions.clusters["gpu"].cluster_id == "0123-456789-abc" && one(databricks_permissions.clusters["gpu"].access_control).permission_level == "CAN_RESTART" && one(databricks_permissions.clusters["gpu"].access_control).user_name == "team@example.com"
    error_message = "The user may not restart the cluster."
  }
}

run "a_group_may_restart_the_cluster" {
  command = plan

  variables {
    principal = "data-scientists"
    clusters  = { gpu = "0123-456789-abc" }
  }

  assert {
    condition     = one(databricks_permissions.clusters["gpu"].access_control).group_name == "data-scientists" && one(databricks_permissions.clusters["gpu"].access_control).user_name == null
    error_message = "The group may not restart the cluster."
  }
}

run "a_service_principal_may_restart_the_cluster" {
  command = plan

  variables {
    principal = "0123abcd-0000-1111-2222-0123456789ab"
    clusters  = { gpu = "0123-456789-abc" }
  }

  assert {
    condition     = one(databricks_permissions.clusters["gpu"].access_control).service_principal_name == "0123abcd-0000-1111-2222-0123456789ab" && one(databricks_permissions.clusters["gpu"].access_control).group_name == null
    error_message = "The service principal may not restart the cluster."
  }
}

run "who_applies_it_keeps_the_cluster" {
  command = plan

  variables {
    principal = "me@example.com"
    clusters  = { gpu = "0123-456789-abc" }
  }

  assert {
    condition     = length(databricks_permissions.clusters) == 0
    error_message = "The owner of the cluster would lose it."
  }
}

run "nobody_is_refused" {
  command = plan

  variables {
    principal = " "
  }

  expect_failures = [var.principal]
}

run "a_path_is_no_catalog" {
  command = plan

  variables {
    catalog = "/Volumes/main"
  }

  expect_failures = [var.catalog]
}

run "a_full_name_is_no_schema" {
  command = plan

  variables {
    schema = "main.inference"
  }

  expect_failures = [var.schema]
}

run "a_path_is_no_volume_to_read" {
  command = plan

  variables {
    read_volumes = ["/Volumes/main/default/models"]
  }

  expect_failures = [var.read_volumes]
}

run "a_path_is_no_volume_to_write" {
  command = plan

  variables {
    write_volumes = ["/Volumes/main/default/models"]
  }

  expect_failures = [var.write_volumes]
}
