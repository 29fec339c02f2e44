locals {
  network    = var.network != null ? var.network : google_compute_network.this[0].id
  subnetwork = var.subnetwork != null ? var.subnetwork : google_compute_subnetwork.this[0].id
}

resource "google_compute_network" "this" {
  count = var.network == null ? 1 : 0

  project                 = var.project
  name                    = var.name
  auto_create_subnetworks = false
}

resource "google_compute_subnetwork" "this" {
  count = var.subnetwork == null ? 1 : 0

  project                  = var.project
  region                   = var.region
  name                     = var.name
  network                  = local.network
  ip_cidr_range            = var.ip_range
  private_ip_google_access = true # Dataproc switches it on too: without this line every plan would switch it off again
}

# Nodes of a cluster talk to each other on all ports.
resource "google_compute_firewall" "internal" {
  project       = var.project
  name          = "${var.name}-internal"
  network       = local.network
  direction     = "INGRESS"
  source_ranges = [var.ip_range]
  target_tags   = [var.name]

  allow {
    protocol = "tcp"
  }

  allow {
    protocol = "udp"
  }

  allow {
    protocol = "icmp"
  }
}

# Nodes have no external address. The NAT is how they reach the package index and the Hugging Face Hub.
resource "google_compute_router" "this" {
  count = var.nat ? 1 : 0

  project = var.project
  region  = var.region
  name    = var.name
  network = local.network
}

resource "google_compute_router_nat" "this" {
  count = var.nat ? 1 : 0

  project                            = var.project
  region                             = var.region
  name                               = var.name
  router                             = google_compute_router.this[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS" # another NAT may serve the rest of the network

  subnetwork {
    name                    = local.subnetwork
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}
