mock_provider "google" {}

variables {
  project = "project-1"
  region  = "us-central1"
}

run "a_network_of_its_own_reaches_the_internet_and_lets_nobody_in" {
  assert {
    condition     = google_compute_subnetwork.this[0].private_ip_google_access && !google_compute_network.this[0].auto_create_subnetworks
    error_message = "The nodes would not reach Google's services."
  }

  assert {
    condition     = google_compute_router_nat.this[0].router == "spark-sidecar" && google_compute_router_nat.this[0].nat_ip_allocate_option == "AUTO_ONLY"
    error_message = "The nodes would not reach a package index."
  }

  assert {
    condition     = google_compute_firewall.internal.source_ranges == toset(["10.80.0.0/20"]) && google_compute_firewall.internal.target_tags == toset(["spark-sidecar"])
    error_message = "Others than the nodes could reach the nodes."
  }

  assert {
    condition     = toset([for each in google_compute_firewall.internal.allow : each.protocol if try(length(each.ports), 0) == 0]) == toset(["icmp", "tcp", "udp"])
    error_message = "Nodes talk to each other on all ports."
  }

  assert {
    condition     = output.network_tags == ["spark-sidecar"]
    error_message = "The nodes would not have the firewall rule's tag."
  }
}

run "an_existing_network_is_used_as_it_is" {
  variables {
    network    = "projects/project-1/global/networks/default"
    subnetwork = "projects/project-1/regions/us-central1/subnetworks/default"
    ip_range   = "10.128.0.0/20"
  }

  assert {
    condition     = length(google_compute_network.this) + length(google_compute_subnetwork.this) == 0
    error_message = "A second network was made."
  }

  assert {
    condition     = output.subnetwork == var.subnetwork && google_compute_router.this[0].network == var.network
    error_message = "The existing network is not used."
  }
}

run "without_a_nat_there_is_no_router" {
  command = plan

  variables {
    nat = false
  }

  assert {
    condition     = length(google_compute_router.this) + length(google_compute_router_nat.this) == 0
    error_message = "A NAT was made."
  }
}

run "a_display_name_is_no_project" {
  command = plan

  variables {
    project = "My Project"
  }

  expect_failures = [var.project]
}

run "a_zone_is_no_region" {
  command = plan

  variables {
    region = "us-central1-a"
  }

  expect_failures = [var.region]
}

run "a_name_that_google_refuses_is_refused" {
  command = plan

  variables {
    name = "Spark_Sidecar"
  }

  expect_failures = [var.name]
}

run "a_short_name_is_no_network" {
  command = plan

  variables {
    network = "default"
  }

  expect_failures = [var.network]
}

run "a_subnetwork_needs_its_network" {
  command = plan

  variables {
    subnetwork = "projects/project-1/regions/us-central1/subnetworks/default"
  }

  expect_failures = [var.subnetwork]
}

run "a_range_for_two_nodes_is_too_small" {
  command = plan

  variables {
    ip_range = "10.80.0.0/30"
  }

  expect_failures = [var.ip_range]
}
